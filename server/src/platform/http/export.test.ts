import { expect, test } from 'vitest';
import { csvField, exportOf } from './export.ts';

/** Rows by their second, newest first, in pages of two. */
const pagesOf = (seconds: readonly number[]) => {
  const asked: (string | null)[] = [];
  const read = async (to: Date | null) => {
    asked.push(to?.toISOString() ?? null);
    const rows = seconds
      .map(second => ({
        timestamp: new Date(second * 1000).toISOString(),
        value: second === 3 ? null : second,
      }))
      .filter(({ timestamp }) => to === null || Date.parse(timestamp) <= to.getTime());
    return { rows: JSON.stringify(rows.slice(0, 2)), truncated: rows.length > 2 };
  };
  return { read, asked };
};

async function textOf(chunks: AsyncIterable<string>): Promise<string> {
  let text = '';
  for await (const chunk of chunks) text += chunk;
  return text;
}

const options = { name: 'rows', columns: ['timestamp', 'value'] } as const;

test('all pages are read, each from where the one before it ended', async () => {
  const { read, asked } = pagesOf([5, 4, 3, 2, 1]);
  const file = await exportOf(read, { ...options, format: 'csv' });
  expect(asked).toEqual([null]);
  expect(await textOf(file!.download.chunks)).toBe(
    [
      'timestamp,value',
      '1970-01-01T00:00:05.000Z,5',
      '1970-01-01T00:00:04.000Z,4',
      '1970-01-01T00:00:03.000Z,',
      '1970-01-01T00:00:02.000Z,2',
      '1970-01-01T00:00:01.000Z,1',
      '',
    ].join('\r\n'),
  );
  expect(asked).toEqual([null, '1970-01-01T00:00:03.999Z', '1970-01-01T00:00:01.999Z']);
});

test('as NDJSON, each row is a line, and nothing is none', async () => {
  const some = await exportOf(pagesOf([3]).read, { ...options, format: 'ndjson' });
  expect(await textOf(some!.download.chunks)).toBe('{"timestamp":"1970-01-01T00:00:03.000Z","value":null}\n');
  const none = await exportOf(pagesOf([]).read, { ...options, format: 'ndjson' });
  expect(await textOf(none!.download.chunks)).toBe('');
});

test('what is not there is known before anything is sent', async () => {
  expect(await exportOf(() => Promise.resolve(null), { ...options, format: 'csv' })).toBeNull();
});

test.each([
  [null, ''],
  ['', '""'],
  [-1.5, '-1.5'],
  [true, 'true'],
  ['plain', 'plain'],
  ['a "quote", and\na line', '"a ""quote"", and\na line"'],
  [{ redis: 'down' }, '"{""redis"":""down""}"'],
  ['=HYPERLINK("http://x")', '"\'=HYPERLINK(""http://x"")"'],
  ['+1', "'+1"],
  ['-1', "'-1"],
  ['@SUM(A1)', "'@SUM(A1)"],
])('of %j the field is %s', (value, field) => {
  expect(csvField(value)).toBe(field);
});
