const form =
  /^(\d{4})-(\d\d)-(\d\d)(?:[Tt ]([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d|60)(?:[.,](\d{1,9}))?)?([Zz]|[+-](?:[01]\d|2[0-3]):?[0-5]\d)?)?$/;

/**
 * The instant that an ISO 8601 / RFC 3339 text names, to the millisecond, or null when it names none. A text
 * without a zone, or without a time of day, is UTC. Not `Date.parse`: that takes many other forms, reads a
 * text without a zone in the zone of this machine, and turns 30 February into 2 March.
 */
export function parseInstant(text: string): Date | null {
  const match = form.exec(text);
  if (match === null) return null;
  const [, year, month, day, hour = '0', minute = '0', second = '0', fraction = '', zone = 'Z'] = match;
  const midnight = new Date(`${year}-${month}-${day}T00:00:00Z`);
  if (Number.isNaN(midnight.getTime()) || midnight.getUTCDate() !== Number(day)) return null;
  const minutes = Number(hour) * 60 + Number(minute) - offsetMinutes(zone);
  const ms = Number(fraction.slice(0, 3).padEnd(3, '0'));
  return new Date(midnight.getTime() + (minutes * 60 + Number(second)) * 1_000 + ms);
}

/** How far ahead of UTC a zone is: `Z`, `+02:00` or `+0200`. */
function offsetMinutes(zone: string): number {
  if (zone.toUpperCase() === 'Z') return 0;
  const minutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(-2));
  return zone.startsWith('-') ? -minutes : minutes;
}
