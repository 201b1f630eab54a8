import { open } from 'node:fs/promises';
import { get } from 'node:http';
import type { Settings } from '../config.ts';

/** What was asked of language models so far, and what it has cost. */
export type LlmUsage = { requests?: number; costUsd?: number };

const timeoutMs = 2_000;
const maxBytes = 64 * 1024;

/** Reads the configured source; an empty usage where none is. Rejects when it does not answer properly. */
export async function readLlmUsage(source: Settings['llm']): Promise<LlmUsage> {
  if (source === null) return {};
  return parseLlmUsage('url' in source ? await readUrl(source.url) : await readStart(source.path));
}

/**
 * Parses `{"llm_requests": 12, "llm_cost_usd": 0.5}`; either may be missing or null. Throws, naming the
 * field, when one is not a number of its range.
 */
export function parseLlmUsage(text: string): LlmUsage {
  const content: unknown = JSON.parse(text);
  if (!isRecord(content)) throw new Error('the LLM usage is not a JSON object');
  const requests = number(content, 'llm_requests', Number.MAX_SAFE_INTEGER);
  if (requests !== undefined && !Number.isInteger(requests))
    throw new Error('llm_requests must be a whole number');
  const costUsd = number(content, 'llm_cost_usd', 999_999_999_999);
  return { ...(requests === undefined ? {} : { requests }), ...(costUsd === undefined ? {} : { costUsd }) };
}

function number(content: Record<string, unknown>, name: string, max: number): number | undefined {
  const value = content[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'number' || value < 0 || value > max)
    throw new Error(`${name} must be a number from 0 to ${max}`);
  return value;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

async function readStart(path: string): Promise<string> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(maxBytes + 1), 0, maxBytes + 1, 0);
    if (bytesRead > maxBytes) throw new Error(`${path} is larger than ${maxBytes} bytes`);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}

function readUrl(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = get(url, response => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      if (response.statusCode !== 200)
        request.destroy(new Error(`${url} answered HTTP ${response.statusCode}`));
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > maxBytes) request.destroy(new Error(`${url} answered more than ${maxBytes} bytes`));
        else chunks.push(chunk);
      });
      response.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
      response.on('error', reject);
    });
    // Of the whole exchange; the `timeout` option of node:http would only bound each silence.
    const timer = setTimeout(
      () => request.destroy(new Error(`${url} did not answer in ${timeoutMs} ms`)),
      timeoutMs,
    );
    request.on('error', reject).on('close', () => clearTimeout(timer));
  });
}
