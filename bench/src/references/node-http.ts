import { Agent, get } from 'node:http';
import type { Target } from '../simulator/identity.ts';
import { type Done, HEALTH_PATH, KEEP_ALIVE_MS, type Loop, settle } from './loop.ts';

/** node:http with one keep-alive agent for all targets. */
export function nodeHttpLoop(): Loop {
  const agent = new Agent({
    keepAlive: true,
    maxSockets: 1,
    // The default keeps 256 idle sockets for the whole agent, so a larger fleet would always reconnect.
    maxFreeSockets: Number.POSITIVE_INFINITY,
    maxTotalSockets: Number.POSITIVE_INFINITY,
    timeout: KEEP_ALIVE_MS,
  });
  return {
    check(target: Target, done: Done): void {
      const options = { agent, headers: { authorization: `Bearer ${target.token}` } };
      const request = get(target.url + HEALTH_PATH, options, response => {
        let bodyBytes = 0;
        response.on('data', (chunk: Buffer) => {
          bodyBytes += chunk.length;
        });
        response.on('end', () => settle(done, response.statusCode ?? 0, bodyBytes));
      });
      request.on('error', done);
    },
    async close(): Promise<void> {
      agent.destroy();
    },
  };
}
