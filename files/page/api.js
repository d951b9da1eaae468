// Asks Prometheus, whose API is beside the page.

const API = new URL("../api/v1/", document.baseURI);
const TIMEOUT_MILLISECONDS = 30_000;
// Proxies limit the length of an address.
const MAX_ADDRESS_LENGTH = 1800;

/** What people read when Prometheus gave no answer. */
export class Unreachable extends Error {}

/** Return the data of an answer. Throws Unreachable with a reason for people. */
export async function ask(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined);
  const form = new URLSearchParams(given);
  const url = new URL(path, API);
  const options = { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MILLISECONDS) };
  if (form.toString().length > MAX_ADDRESS_LENGTH) Object.assign(options, { method: "POST", body: form });
  else url.search = form;
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    const late = error.name === "TimeoutError";
    throw new Unreachable(late ? "no answer within 30 seconds" : "no connection");
  }
  let answer;
  try {
    answer = await response.json();
  } catch {
    throw new Unreachable(reason(response));
  }
  if (answer.status !== "success") throw new Unreachable(answer.error ?? reason(response));
  return answer.data;
}

function reason(response) {
  switch (response.status) {
    case 200:
      return "the answer is not Prometheus' own. A proxy may want you to sign in: reload this page";
    case 401:
      return "it wants a password. Reload this page to sign in";
    case 403:
      return `access to ${API.pathname} is refused`;
    case 404:
      return `${API.pathname} is not there. A proxy has to forward it beside ${document.location.pathname}`;
    default:
      return `HTTP status ${response.status}`;
  }
}

/** Return the samples of an expression at a time in Unix seconds, or now. */
export async function instant(query, time) {
  return (await ask("query", { query, time })).result;
}

/** Return the series of an expression between two times in Unix seconds. */
export async function range(query, start, end, step) {
  return (await ask("query_range", { query, start, end, step })).result;
}

/** Return the text of a runbook beside the page, or null. */
export async function runbook(name) {
  const url = new URL(`runbooks/${encodeURIComponent(name)}.md`, document.baseURI);
  try {
    const response = await fetch(url);
    return response.ok ? await response.text() : null;
  } catch {
    return null;
  }
}
