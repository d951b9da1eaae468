import { STATES } from "./states.js";

const response = await fetch("../api/v1/query?query=batch_job:state");
const { data } = await response.json();
const list = document.createElement("ul");
for (const { metric, value } of data.result) {
  const item = document.createElement("li");
  item.textContent = `${STATES[Number(value[1])].name}: ${metric.job} ${metric.instance ?? ""}`;
  list.append(item);
}
document.getElementById("main").append(list);
