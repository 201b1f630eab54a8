import { Agent, request } from 'undici';
import type { Target } from '../simulator/identity.ts';
import { type Done, HEALTH_PATH, KEEP_ALIVE_MS, type Loop, settle } from './loop.ts';

/** undici's `request()`, the body read as text. */
export function undiciRequestLoop(): Loop {
  const agent = new Agent({ connections: 1, pipelining: 1, keepAliveTimeout: KEEP_ALIVE_MS });

  async function check(target: Target, done: Done): Promise<void> {
    try {
      const response = await request(target.url + HEALTH_PATH, {
        dispatcher: agent,
        headers: { authorization: `Bearer ${target.token}` },
      });
      const body = await response.body.text();
      settle(done, response.statusCode, body.length);
    } catch (error) {
      done(error instanceof Error ? error : new Error(String(error)));
    }
  }

  return {
    check: (target, done) => void check(target, done),
    close: () => agent.close(),
  };
}
