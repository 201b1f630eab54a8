import { invalidField } from './http/errors.ts';

/** Opaque to clients: where a page ended. */
export const encodeCursor = (value: unknown): string =>
  Buffer.from(JSON.stringify(value)).toString('base64url');

/** The value of a cursor we gave out. Anything else is `invalid`. */
export function decodeCursor<T>(
  text: string,
  isValid: (value: unknown) => value is T,
  pointer = '/query/cursor',
): T {
  try {
    const value: unknown = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
    if (isValid(value)) return value;
  } catch {
    // Falls through: not JSON is as wrong as the wrong JSON.
  }
  throw invalidField(pointer, 'is not a cursor of this list');
}
