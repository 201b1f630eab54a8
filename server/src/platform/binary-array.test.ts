import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/database.ts';
import { type BinaryType, binaryArray } from './binary-array.ts';
import { sql } from './db.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.close());

/** The texts that PostgreSQL writes for the values of an array that was sent in binary. */
async function read(type: BinaryType, items: readonly unknown[]): Promise<(string | null)[]> {
  const { texts } = await database.db.system.one(sql<{ texts: (string | null)[] }>`
    select ${binaryArray(type, items)}::${sql.raw(type)}[]::text[] as texts`);
  return texts;
}

const numbersOf = async (type: BinaryType, items: readonly unknown[]): Promise<(number | null)[]> =>
  (await read(type, items)).map(text => (text === null ? null : Number(text)));

describe('an array reaches PostgreSQL as it is', () => {
  // PostgreSQL has no text with a zero byte; what stores texts of strangers takes them out.
  const text = fc.string({ unit: 'binary' }).map(each => each.replaceAll('\0', ''));

  it('whatever its texts are, and however long', () =>
    fc.assert(
      fc.asyncProperty(fc.array(fc.option(fc.oneof(text, fc.string({ maxLength: 60 })))), async items => {
        expect(await read('text', items)).toEqual(items.map(item => item?.toWellFormed() ?? null));
      }),
    ));

  it('a text that is longer than all before it', async () => {
    const long = 'ä'.repeat(300_000);
    expect(await read('text', ['a', long, null, 'b'])).toEqual(['a', long, null, 'b']);
  });

  it.each(['json', 'jsonb'] as const)('whatever its documents are, as %s', type =>
    fc.assert(
      fc.asyncProperty(fc.array(fc.jsonValue()), async values => {
        // PostgreSQL's documents know no minus zero, and jsonb no zero character.
        const documents = values.map(value => JSON.stringify(value).replaceAll('\\u0000', ''));
        const texts = await read(type, documents);
        expect(texts.map(each => JSON.parse(each!) as unknown)).toEqual(
          documents.map(each => JSON.parse(each) as unknown),
        );
      }),
      { numRuns: 50 },
    ),
  );

  it.each([
    ['smallint', fc.integer({ min: -32_768, max: 32_767 })],
    ['integer', fc.integer()],
    ['bigint', fc.maxSafeInteger()],
    ['double precision', fc.double({ noNaN: true, noDefaultInfinity: true })],
    ['real', fc.float({ noNaN: true, noDefaultInfinity: true })],
  ] as const)('whatever its numbers are, as %s', (type, number) =>
    fc.assert(
      fc.asyncProperty(fc.array(fc.option(number)), async items => {
        const read = await numbersOf(type, items);
        expect(read.map(each => (type === 'real' && each !== null ? Math.fround(each) : each))).toEqual(
          items,
        );
      }),
    ),
  );

  it('bigints of all of 64 bits', async () => {
    const items = [-(2n ** 63n), 2n ** 63n - 1n, 0n, -1n];
    expect(await read('bigint', items)).toEqual(items.map(String));
  });

  it('numbers that no other number is', async () => {
    const special = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    expect(await numbersOf('real', special)).toEqual(special);
    expect(await numbersOf('double precision', special)).toEqual(special);
  });

  it('truths, and nothing at all', async () => {
    expect(await read('boolean', [true, null, false])).toEqual(['true', null, 'false']);
    expect(await read('integer', [])).toEqual([]);
    expect(await read('integer', [null])).toEqual([null]);
  });

  it('ids, in small and in capital letters', () =>
    fc.assert(
      fc.asyncProperty(fc.array(fc.option(fc.uuid())), async items => {
        const capital = items.map(item => item?.toUpperCase() ?? null);
        expect(await read('uuid', [...items, ...capital])).toEqual([...items, ...items]);
      }),
    ));

  it('instants, to the millisecond', () => {
    const instant = fc.date({ min: new Date(Date.UTC(-4712)), noInvalidDate: true });
    return fc.assert(
      fc.asyncProperty(fc.array(fc.option(instant)), async items => {
        const rows = await database.db.system.many(sql<{ ms: string | null }>`
          select (1000 * extract(epoch from at))::bigint::text as ms
          from unnest(${binaryArray('timestamptz', items)}::timestamptz[]) at`);
        expect(rows.map(({ ms }) => (ms === null ? null : Number(ms)))).toEqual(
          items.map(item => item?.getTime() ?? null),
        );
      }),
    );
  });
});

it.each([
  ['boolean', [1, 'true', undefined]],
  ['smallint', [32_768, -32_769, 0.5, Number.NaN, '1', undefined]],
  ['integer', [2 ** 31, -(2 ** 31) - 1, 0.5, Number.NaN, '1', 1n, undefined]],
  ['bigint', [2 ** 53, 0.5, Number.NaN, '1', 2n ** 63n, undefined]],
  ['real', [1e39, '1', undefined]],
  ['double precision', ['1', 1n, undefined]],
  ['timestamptz', [new Date(Number.NaN), new Date(Date.UTC(-4713)), 0, '2026-01-01T00:00:00Z', undefined]],
  ['uuid', ['', '0190b3b4-0000-7000-8000-00000000000', '0190b3b4_0000-7000-8000-000000000000', undefined]],
  ['uuid', ['0190b3b4-0000-7000-8000-00000000000g', '0190b3b4-0000-7000-8000-00000000000ä', 7]],
  ['text', [7, {}, new Date(), undefined]],
  ['jsonb', [{}, undefined]],
] as const)('does not send as %s what is none', (type, items) => {
  for (const item of items) expect(() => binaryArray(type, [null, item])).toThrow(RangeError);
});
