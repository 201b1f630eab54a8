import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/database.ts';
import { arrayLiteral } from './array-literal.ts';
import { sql } from './db.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.close());

/** What PostgreSQL reads from an array parameter, as JSON. */
async function read(items: readonly unknown[], type: string): Promise<unknown[]> {
  expect(arrayLiteral(items)).not.toBeNull();
  const row = await database.db.system.one(sql<{ json: string }>`
    select to_json(${items}::${sql.raw(type)}[])::text as json`);
  return JSON.parse(row.json) as unknown[];
}

describe('an array reaches PostgreSQL as it is', () => {
  // PostgreSQL has no text with a zero byte; what stores texts of strangers takes them out.
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string({ unit: fc.constantFrom('"', '\\', '{', '}', ',', ' ', '\n', '\t', 'NULL', 'ä', '\u{1f600}') }),
  );
  const texts = fc.array(fc.option(text.map(each => each.replaceAll('\0', ''))));

  it('whatever its texts are', () =>
    fc.assert(
      fc.asyncProperty(texts, async items => {
        expect(await read(items, 'text')).toEqual(items.map(item => item?.toWellFormed() ?? null));
      }),
    ));

  it('whatever the documents are', () =>
    fc.assert(
      fc.asyncProperty(fc.array(fc.jsonValue()), async values => {
        const documents = values.map(value => JSON.stringify(value));
        expect(await read(documents, 'json')).toEqual(documents.map(each => JSON.parse(each) as unknown));
      }),
      { numRuns: 50 },
    ));

  it('numbers, truths and nulls', async () => {
    expect(await read([1, null, -2.5, 1e21], 'float8')).toEqual([1, null, -2.5, 1e21]);
    expect(await read([7n, null], 'bigint')).toEqual([7, null]);
    expect(await read([true, false, null], 'boolean')).toEqual([true, false, null]);
    expect(await read([], 'integer')).toEqual([]);
  });

  it('instants, to the millisecond', async () => {
    const items = [new Date(0), null, new Date('2026-11-25T12:34:56.789Z'), new Date('0044-03-15T00:00:00Z')];
    const rows = await database.db.system.many(sql<{ ms: number | null }>`
      select (extract(epoch from at) * 1000)::float8 as ms from unnest(${items}::timestamptz[]) at`);
    expect(rows.map(({ ms }) => ms)).toEqual(items.map(item => item?.getTime() ?? null));
  });
});

it('leaves to the driver what it does not write', () => {
  for (const item of [undefined, {}, [1], Buffer.from('a'), new Date(Number.NaN), new Date(8.64e15)]) {
    expect(arrayLiteral(['a', item])).toBeNull();
  }
});
