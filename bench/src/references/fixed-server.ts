import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * A bare node:http server that answers everything with the same JSON string, whose length in bytes is its one
 * argument: what an answer of that size costs before anything is looked up. Prints its port.
 */
const bodyBytes = Number(process.argv[2]);
const body = Buffer.from(JSON.stringify('x'.repeat(Math.max(0, bodyBytes - 2))));
const server = createServer((_request, response) => {
  response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': body.length }).end(body);
});
server.listen({ host: '127.0.0.1', port: 0 }, () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
});
