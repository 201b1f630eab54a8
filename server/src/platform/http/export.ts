import { Type } from 'typebox';
import type { Download } from './route.ts';
import { oneOf } from './schemas.ts';

export const exportFormats = ['csv', 'ndjson'] as const;
export type ExportFormat = (typeof exportFormats)[number];

/** The parameter that names a format. */
export const FormatName = Type.Optional(
  oneOf<ExportFormat>(exportFormats, {
    description: 'csv (the default): RFC 4180 with a header. ndjson: a JSON object on each line.',
  }),
);

/** A line of a file. */
export type Row = Readonly<Record<string, unknown>>;

/** What a file is called, without its ending, and which columns it has, in order. */
export type FileForm = { name: string; format: ExportFormat; columns: readonly string[] };

/** Lines for which a page of a file is read, where the reader can choose: a hundredth of a second of this process. */
export const linesAtOnce = 10_000;
/** Lines that are sent at once. */
const linesOfChunk = 1_000;

/**
 * A file of rows that are read page by page, each when the one before it has been taken, so that neither the database nor
 * this process holds more than one. The first one is read before anything is sent: what fails there is an answer.
 */
export async function fileOf(
  pages: AsyncIterable<Iterable<Row>>,
  { name, format, columns }: FileForm,
): Promise<Download> {
  const reader = pages[Symbol.asyncIterator]();
  let page = await reader.next();
  async function* chunks(): AsyncGenerator<string> {
    try {
      if (format === 'csv') yield `${columns.join(',')}\r\n`;
      for (; page.done !== true; page = await reader.next()) {
        for (const rows of inChunks(page.value))
          yield format === 'csv' ? csvOf(rows, columns) : ndjsonOf(rows);
      }
    } finally {
      await reader.return?.();
    }
  }
  const type = format === 'csv' ? 'text/csv; charset=utf-8; header=present' : 'application/x-ndjson';
  return { download: { name: `${name}.${format}`, type, chunks: chunks() } };
}

function* inChunks(rows: Iterable<Row>): Generator<Row[]> {
  let chunk: Row[] = [];
  for (const row of rows) {
    chunk.push(row);
    if (chunk.length < linesOfChunk) continue;
    yield chunk;
    chunk = [];
  }
  if (chunk.length > 0) yield chunk;
}

/** A page of rows as JSON text, newest first, each with a `timestamp`, and whether there are older ones in the range. */
type HistoryPage = { rows: string; truncated: boolean };

/**
 * A file of all rows of a range. `read` reads the newest page up to an instant, null being the end of the range. Null
 * where `read` says so of the first page.
 */
export async function exportOf(
  read: (to: Date | null) => Promise<HistoryPage | null>,
  form: FileForm,
): Promise<Download | null> {
  let page = await read(null);
  if (page === null) return null;
  async function* pages(): AsyncGenerator<Row[]> {
    while (page !== null) {
      const rows = JSON.parse(page.rows) as Row[];
      yield rows;
      const last = rows.at(-1);
      if (!page.truncated || last === undefined) return;
      page = await read(new Date(Date.parse(String(last['timestamp'])) - 1));
    }
  }
  return fileOf(pages(), form);
}

const ndjsonOf = (rows: readonly Row[]): string => rows.map(row => `${JSON.stringify(row)}\n`).join('');

const csvOf = (rows: readonly Row[], columns: readonly string[]): string =>
  rows.map(row => `${columns.map(column => csvField(row[column])).join(',')}\r\n`).join('');

/**
 * Null is the empty field. A text that a spreadsheet would take for a formula gets an apostrophe: what a managed server
 * says must not run where somebody opens it (OWASP, CSV Injection).
 */
export function csvField(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) || safe === '' ? `"${safe.replaceAll('"', '""')}"` : safe;
}
