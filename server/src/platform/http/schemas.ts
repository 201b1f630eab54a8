import { type TSchema, Type } from 'typebox';

/** What any noun's schemas are made of. */
export const Instant = Type.String({ format: 'date-time' });

export const nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

/** One visible line of text. Control characters could forge a log line or a terminal's output. */
export const line = (maxLength: number) =>
  Type.String({
    minLength: 1,
    maxLength,
    pattern: '^[^\\p{Cc}]*[^\\s\\p{Cc}][^\\p{Cc}]*$',
    description: `must be 1 to ${maxLength} characters on one line`,
  });

/** A closed set of words, typed as their union and published as an enum. */
export const oneOf = <const T extends string>(words: readonly T[], options: { description?: string } = {}) =>
  Type.Unsafe<T>(Type.String({ enum: [...words], ...options }));
