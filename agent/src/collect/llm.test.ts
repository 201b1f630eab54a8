import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { tempDir } from '../../test/temp-dir.ts';
import { parseLlmUsage, readLlmUsage } from './llm.ts';

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/usage`;
}

test('both fields, one, or none', () => {
  expect(parseLlmUsage('{"llm_requests": 12, "llm_cost_usd": 0.004}')).toEqual({
    requests: 12,
    costUsd: 0.004,
  });
  expect(parseLlmUsage('{"llm_requests": 0, "llm_cost_usd": null}')).toEqual({ requests: 0 });
  expect(parseLlmUsage('{}')).toEqual({});
});

test.each([
  ['{"llm_requests": -1}', 'llm_requests'],
  ['{"llm_requests": 1.5}', 'llm_requests'],
  ['{"llm_requests": 1e400}', 'llm_requests'],
  ['{"llm_cost_usd": "3"}', 'llm_cost_usd'],
  ['{"llm_cost_usd": 1e13}', 'llm_cost_usd'],
  ['null', 'JSON object'],
  ['<html>', 'JSON'],
])('%s is refused', (text, named) => {
  expect(() => parseLlmUsage(text)).toThrow(named);
});

test('nothing is known without a source', async () => {
  await expect(readLlmUsage(null)).resolves.toEqual({});
});

test('a file', async () => {
  const path = join(tempDir(), 'usage.json');
  writeFileSync(path, '{"llm_requests": 7}');
  await expect(readLlmUsage({ path })).resolves.toEqual({ requests: 7 });
  writeFileSync(path, ' '.repeat(70_000));
  await expect(readLlmUsage({ path })).rejects.toThrow('larger than 65536 bytes');
});

test('a URL', async () => {
  const url = await serve((_, response) => response.end('{"llm_requests": 7, "llm_cost_usd": 1.25}'));
  await expect(readLlmUsage({ url })).resolves.toEqual({ requests: 7, costUsd: 1.25 });
});

test('a URL that answers with an error, a redirect, or without end', async () => {
  const missing = await serve((_, response) => response.writeHead(404).end('{}'));
  await expect(readLlmUsage({ url: missing })).rejects.toThrow('answered HTTP 404');
  const moved = await serve((_, response) => response.writeHead(302, { location: '/other' }).end());
  await expect(readLlmUsage({ url: moved })).rejects.toThrow('answered HTTP 302');
  const endless = await serve((_, response) => {
    const more = (): void => {
      if (!response.destroyed) response.write('x'.repeat(16_384), more);
    };
    more();
  });
  await expect(readLlmUsage({ url: endless })).rejects.toThrow('more than 65536 bytes');
});

test('a URL that says nothing', async () => {
  const url = await serve(() => {});
  await expect(readLlmUsage({ url })).rejects.toThrow('did not answer in 2000 ms');
});
