import type { Target } from '../simulator/identity.ts';
import { Line } from './line.ts';
import { type Done, HEALTH_PATH, type Loop, settle } from './loop.ts';

/** A `Line` for each target: bare sockets and nothing else. */
export function bareSocketLoop(): Loop {
  const lines = new Map<number, Line>();
  return {
    check(target: Target, done: Done): void {
      let line = lines.get(target.index);
      if (line === undefined) {
        line = open(target);
        lines.set(target.index, line);
      }
      line.ask((error, answer) => {
        if (answer === undefined) done(error);
        else settle(done, answer.status, answer.bodyBytes);
      });
    },
    async close(): Promise<void> {
      for (const line of lines.values()) line.close();
    },
  };
}

function open({ url, token }: Target): Line {
  const { hostname, port } = new URL(url);
  return new Line({ host: hostname, port: Number(port), path: HEALTH_PATH, token });
}
