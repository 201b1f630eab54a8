/**
 * The text of a PostgreSQL array (https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO), for a parameter
 * of any array type: what the driver would make of it in twice the time. Columns of many rows go in binary (`unnest`).
 * Null where an item is none of text, number, boolean, instant, bigint or null: then the driver has to.
 */
export function arrayLiteral(items: readonly unknown[]): string | null {
  let literal = '{';
  for (let index = 0; index < items.length; index += 1) {
    const item = items[index];
    if (index > 0) literal += ',';
    if (item === null) literal += 'NULL';
    else if (typeof item === 'string') literal += quoted(item);
    else if (typeof item === 'number' || typeof item === 'boolean' || typeof item === 'bigint')
      literal += item;
    else if (item instanceof Date && isOrdinary(item)) literal += `"${item.toISOString()}"`;
    else return null;
  }
  return `${literal}}`;
}

const special = /["\\]/;
const specials = /["\\]/g;
// oxlint-disable-next-line no-control-regex -- JSON writes exactly these otherwise
const control = /[\0-\x1f]/;

function quoted(text: string): string {
  if (!special.test(text)) return `"${text}"`;
  // JSON escapes the same two characters with the same one, natively: documents are full of them.
  if (!control.test(text) && text.isWellFormed()) return JSON.stringify(text);
  return `"${text.replace(specials, '\\$&')}"`;
}

/** ISO 8601 and PostgreSQL write the years from 1 to 9999 alike; an invalid date is neither. */
const isOrdinary = (date: Date): boolean => {
  const year = date.getUTCFullYear();
  return year >= 1 && year <= 9999;
};
