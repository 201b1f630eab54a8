import { Type } from 'typebox';
import type { Download } from './route.ts';
import { oneOf } from './schemas.ts';

export const exportFormats = ['csv', 'ndjson'] as const;
export type ExportFormat = (typeof exportFormats)[number];

/** The query parameter that names a format. */
export const FormatName = Type.Optional(
  oneOf<ExportFormat>(exportFormats, {
    description: 'csv (the default): RFC 4180 with a header. ndjson: a JSON object on each line.',
  }),
);

type Row = Readonly<Record<string, unknown>>;

/** A page of rows as JSON text, newest first, each with a `timestamp`, and whether there are older ones in the range. */
type Page = { rows: string; truncated: boolean };

/**
 * A file of all rows of a range, read and sent page by page, so that neither the database nor this process holds more
 * than one. `read` reads the newest page up to an instant, null being the end of the range. The first one is read before
 * anything is sent: what fails there is an answer. Null where `read` says so of the first page.
 */
export async function exportOf(
  read: (to: Date | null) => Promise<Page | null>,
  { name, format, columns }: { name: string; format: ExportFormat; columns: readonly string[] },
): Promise<Download | null> {
  const first = await read(null);
  if (first === null) return null;
  async function* chunks(): AsyncGenerator<string> {
    if (format === 'csv') yield `${columns.join(',')}\r\n`;
    for (let page: Page | null = first; page !== null; ) {
      const rows = JSON.parse(page.rows) as Row[];
      if (rows.length > 0) yield format === 'csv' ? csvOf(rows, columns) : ndjsonOf(rows);
      const last = rows.at(-1);
      if (!page.truncated || last === undefined) return;
      page = await read(new Date(Date.parse(String(last['timestamp'])) - 1));
    }
  }
  const type = format === 'csv' ? 'text/csv; charset=utf-8; header=present' : 'application/x-ndjson';
  return { download: { name: `${name}.${format}`, type, chunks: chunks() } };
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
