import { describe, expect, test } from 'vitest';
import { csvField, exportOf, fileOf } from './export.ts';

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

describe('a file of pages', () => {
  /** Pages of one row each, and what was asked of them. */
  const counted = (pages: number, failAt?: number) => {
    const seen: (number | string)[] = [];
    const read = async function* () {
      try {
        for (let page = 1; page <= pages; page += 1) {
          if (page === failAt) throw new Error('away');
          seen.push(page);
          yield [{ timestamp: 'now', value: page }];
        }
      } finally {
        seen.push('end');
      }
    };
    return { seen, file: () => fileOf(read(), { ...options, format: 'ndjson' }) };
  };

  test('reads the next one only when what was read has been taken', async () => {
    const { seen, file } = counted(3);
    const { chunks } = (await file()).download;
    expect(seen).toEqual([1]);
    const lines = chunks[Symbol.asyncIterator]();
    await lines.next();
    expect(seen).toEqual([1]);
    await lines.next();
    expect(seen).toEqual([1, 2]);
  });

  test('ends its pages when whoever takes them goes away', async () => {
    const { seen, file } = counted(3);
    for await (const _line of (await file()).download.chunks) break;
    expect(seen).toEqual([1, 'end']);
  });

  test('fails before it begins, or in the middle and never at an end', async () => {
    await expect(counted(3, 1).file()).rejects.toThrow('away');
    const { download } = await counted(3, 2).file();
    await expect(textOf(download.chunks)).rejects.toThrow('away');
  });

  test('is sent in pieces, also where a page is long', async () => {
    const rows = Array.from({ length: 2_500 }, (_, value) => ({ value }));
    const read = async function* () {
      yield rows;
    };
    const { download } = await fileOf(read(), { name: 'rows', columns: ['value'], format: 'csv' });
    const chunks: string[] = [];
    for await (const chunk of download.chunks) chunks.push(chunk);
    expect(chunks.map(chunk => chunk.split('\r\n').length - 1)).toEqual([1, 1_000, 1_000, 500]);
    expect(chunks.join('')).toBe(`value\r\n${rows.map(({ value }) => `${value}\r\n`).join('')}`);
  });
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
