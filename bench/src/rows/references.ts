import type { Row } from '../context.ts';
import type { LoopName } from '../references/loops.ts';

const LOOPS: readonly [LoopName, string][] = [
  ['undici-request', 'bare undici request()'],
  ['undici-dispatch', 'bare undici dispatch()'],
  ['node-http', 'bare node:http'],
];

/** What a keep-alive check costs a client that does nothing else, against the least that is possible. */
export const references: Row = {
  name: 'references',
  async run(context) {
    const floor = await context.reference('bare-socket');
    const measurements = [];
    for (const [loop, name] of LOOPS) {
      const { clientCpuUs } = await context.reference(loop);
      measurements.push({
        name,
        measured: clientCpuUs,
        unit: 'µs CPU/check',
        reference: { name: 'bare sockets', value: floor.clientCpuUs },
      });
    }
    return measurements;
  },
};
