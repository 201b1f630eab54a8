import type { Row } from '../context.ts';

/**
 * What the simulator itself takes from the cores it shares. It is the marginal cost of a request: a long
 * run minus a short one, so that start-up and the connections, which both runs have, cancel out.
 */
export const simulator: Row = {
  name: 'simulator',
  async run(context) {
    const short = await context.reference('bare-socket');
    const long = await context.longReference('bare-socket', 4);
    return [
      {
        name: 'simulator, one more request',
        measured: (long.simulatorCpuUs - short.simulatorCpuUs) / (long.served - short.served),
        unit: 'µs CPU/request',
        reference: { name: 'bare sockets', value: long.clientCpuUs },
        bar: '≤ 15',
      },
    ];
  },
};
