// What is shown, as the part of the page's address behind the #, so that a link shows the same.

const FIELDS = ["at", "state", "owner", "host", "text", "sort", "job", "days", "runbook"];

/** Return the fields of the address; those that are absent are undefined. */
export function read() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  const fields = {};
  for (const field of FIELDS) fields[field] = parameters.get(field) ?? undefined;
  fields.at = Number.isFinite(Number(fields.at)) ? Number(fields.at) : undefined;
  return fields;
}

/** Return the address with these fields and no others. */
export function link(fields) {
  const parameters = new URLSearchParams();
  for (const field of FIELDS) {
    if (fields[field] !== undefined) parameters.set(field, fields[field]);
  }
  return `#${parameters}`;
}

/** Change some fields of the address without a step in the history. */
export function change(fields) {
  history.replaceState(null, "", link({ ...read(), ...fields }));
}
