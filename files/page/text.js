// How numbers, times and names are written.

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86400;
const UNITS = [
  [2 * DAY, DAY, "d"],
  [2 * HOUR, HOUR, "h"],
  [2 * MINUTE, MINUTE, "min"],
  [0, 1, "s"],
];
const BYTES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const MAX_NAME_LENGTH = 60;
// Control and format characters, such as those that turn the direction of text.
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}]/u;

/** Return a duration in seconds, in its two largest units. */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "∞";
  if (seconds < 9.95) return `${Number(seconds.toFixed(1))} s`;
  const rounded = Math.round(seconds);
  if (rounded < 100) return `${rounded} s`;
  const minutes = Math.round(seconds / MINUTE);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 10) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  if (hours < 48) return `${Math.round(minutes / 60)} h`;
  const days = Math.floor(seconds / DAY);
  const rest = Math.floor((seconds % DAY) / HOUR);
  return days < 7 && rest ? `${days} d ${rest} h` : `${days} d`;
}

/** Return a duration in seconds, in its largest unit. */
export function roughly(seconds) {
  const [, size, unit] = UNITS.find(([least]) => seconds >= least);
  return `${Math.floor(seconds / size)} ${unit}`;
}

/** Return what is left of a time in seconds, to the second where these are few. */
export function countdown(seconds) {
  const left = Math.max(0, Math.floor(seconds));
  if (left >= HOUR) return duration(seconds);
  const minutes = Math.floor(left / MINUTE);
  return minutes ? `${minutes} min ${String(left % MINUTE).padStart(2, "0")} s` : `${left} s`;
}

/** Return a size in bytes, with three digits. */
export function bytes(size) {
  let power = 0;
  let rest = size;
  while (rest >= 999.5 && power < BYTES.length - 1) {
    rest /= 1024;
    power += 1;
  }
  return `${power ? rest.toPrecision(3) : rest} ${BYTES[power]}`;
}

const format = (options) => new Intl.DateTimeFormat("en-GB", options);
const CLOCK = { hour: "2-digit", minute: "2-digit" };
const DATE = { day: "numeric", month: "short" };
const LONG = { weekday: "short", ...DATE, year: "numeric", ...CLOCK };
const formats = {
  clock: format(CLOCK),
  weekday: format({ weekday: "short", ...CLOCK }),
  date: format({ ...DATE, ...CLOCK }),
  year: format({ ...DATE, year: "numeric" }),
  day: format({ weekday: "short", ...DATE }),
  local: format({ ...LONG, timeZoneName: "short" }),
  utc: format({ ...LONG, timeZone: "UTC" }),
  utcClock: format({ ...CLOCK, timeZone: "UTC" }),
  utcDay: format({ ...DATE, timeZone: "UTC" }),
  localDay: format(DATE),
};
const dated = (seconds) => new Date(seconds * 1000);
const isDate = (seconds) => Math.abs(seconds) < 8.64e12;

/** Return a time in Unix seconds as briefly as it is clear now, in the reader's zone. */
export function moment(seconds, now) {
  if (!isDate(seconds)) return "?";
  const time = dated(seconds);
  const today = dated(now);
  if (time.toDateString() === today.toDateString()) return `today ${formats.clock.format(time)}`;
  if (Math.abs(seconds - now) < 6 * DAY) return formats.weekday.format(time);
  const form = time.getFullYear() === today.getFullYear() ? formats.date : formats.year;
  return form.format(time);
}

/** Return a time in Unix seconds in full: in the reader's zone, and in UTC. */
export function exact(seconds) {
  if (!isDate(seconds)) return String(seconds);
  const time = dated(seconds);
  const isSameDay = formats.utcDay.format(time) === formats.localDay.format(time);
  return `${formats.local.format(time)} (${(isSameDay ? formats.utcClock : formats.utc).format(time)} UTC)`;
}

/** Return the name of the day at a time in Unix seconds. */
export const day = (seconds) => formats.day.format(dated(seconds));

/** Return the time of the day at a time in Unix seconds. */
export const clock = (seconds) => formats.clock.format(dated(seconds));

/** Return the end of the reader's day, in Unix seconds. */
export function endOfDay(seconds) {
  const time = dated(seconds);
  return new Date(time.getFullYear(), time.getMonth(), time.getDate() + 1).getTime() / 1000;
}

/** Return a text in parts: those that can be seen, and the others as escapes. */
export function parts(text, limit = MAX_NAME_LENGTH) {
  const points = Array.from(text.length > 4 * limit ? text.slice(0, 4 * limit) : text);
  const pieces = [];
  for (const point of points.slice(0, limit)) {
    const hidden = INVISIBLE.test(point);
    const shown = hidden ? `\\u${point.codePointAt(0).toString(16).padStart(4, "0")}` : point;
    const last = pieces.at(-1);
    if (last?.hidden === hidden) last.text += shown;
    else pieces.push({ text: shown, hidden });
  }
  return { pieces, isCut: points.length > limit };
}

/** Return a text as a word of a shell's command line, in characters that can be seen. */
export function shellWord(text) {
  if (/^[\w@%+=:,./-]+$/.test(text)) return text;
  if (!INVISIBLE.test(text)) return `'${text.replaceAll("'", "'\\''")}'`;
  const escaped = Array.from(text, (point) => {
    if (point === "'" || point === "\\") return `\\${point}`;
    if (!INVISIBLE.test(point)) return point;
    return `\\U${point.codePointAt(0).toString(16).padStart(8, "0")}`;
  });
  return `$'${escaped.join("")}'`;
}

/** Return a text as YAML, in characters that can be seen. */
export function yamlText(text) {
  if (/^[A-Za-z][\w-]*$/.test(text) && !/^(y|n|yes|no|on|off|true|false|null)$/i.test(text)) return text;
  return Array.from(JSON.stringify(text), (point) =>
    INVISIBLE.test(point) ? `\\U${point.codePointAt(0).toString(16).padStart(8, "0")}` : point,
  ).join("");
}
