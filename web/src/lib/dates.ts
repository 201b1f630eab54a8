const secondMs = 1_000;
const minuteMs = 60_000;
const hourMs = 3_600_000;
const dayMs = 86_400_000;

const clock = new Intl.DateTimeFormat('en', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
});
const minutes = new Intl.DateTimeFormat('en', { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const full = new Intl.DateTimeFormat('en', {
  dateStyle: 'medium',
  timeStyle: 'long',
  hourCycle: 'h23',
});
const short = new Intl.DateTimeFormat('en', {
  month: 'short',
  day: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  hourCycle: 'h23',
});

/** A length of time in its two largest units: `45 s`, `12 min`, `3 h 5 min`, `2 d 4 h`. */
export function formatDuration(durationMs: number): string {
  const lengthMs = Math.max(0, durationMs);
  if (lengthMs < minuteMs) return `${Math.floor(lengthMs / secondMs)} s`;
  if (lengthMs < hourMs) return `${Math.floor(lengthMs / minuteMs)} min`;
  const [large, small] = lengthMs < dayMs ? [hourMs, minuteMs] : [dayMs, hourMs];
  const [largeName, smallName] = lengthMs < dayMs ? ['h', 'min'] : ['d', 'h'];
  const rest = Math.floor((lengthMs % large) / small);
  return `${Math.floor(lengthMs / large)} ${largeName}${rest === 0 ? '' : ` ${rest} ${smallName}`}`;
}

/**
 * How long ago, within a day: `just now`, `12 s ago`, `3 min ago`, `5 h ago`; beyond it the date itself. A
 * moment in the future, as a browser's slow clock sees it, is just now.
 */
export function formatAge(at: Date, now: Date): string {
  const ageMs = now.getTime() - at.getTime();
  if (ageMs < secondMs) return 'just now';
  if (ageMs >= dayMs) return short.format(at);
  const [unitMs, name] =
    ageMs < minuteMs ? [secondMs, 's'] : ageMs < hourMs ? [minuteMs, 'min'] : [hourMs, 'h'];
  return `${Math.floor(ageMs / unitMs)} ${name} ago`;
}

/** `14:02:11`, local time. */
export const formatClock = (at: Date): string => clock.format(at);

/** `14:02`, local time. */
export const formatMinute = (at: Date): string => minutes.format(at);

/** Local time with its zone, then UTC, for who looks closely. */
export const formatInstant = (at: Date): string => `${full.format(at)} (${at.toISOString()})`;
