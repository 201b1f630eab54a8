import type { Context, Row } from '../context.ts';
import type { ControlPlane } from '../control-plane.ts';
import { withFleetData } from '../fleet-data.ts';
import type { LoadResult } from '../load.ts';
import { startProgram } from '../processes.ts';

const SCALES = {
  full: { servers: 5_000, warmUpMs: 2_000, measuredMs: 6_000 },
  quick: { servers: 500, warmUpMs: 300, measuredMs: 700 },
};

const ENDPOINTS = [
  { name: 'GET /servers?limit=100', path: '/api/v1/fleet/servers?limit=100', bar: '≥ 1,200' },
  { name: 'GET /summary', path: '/api/v1/fleet/summary', bar: '≥ 3,000' },
];

const CONNECTIONS = 16;

/** Requests a second with the whole machine for it, the load generator included. Nothing is polled meanwhile. */
export const api: Row = {
  name: 'api',
  run: context =>
    context.withControlPlane({ OPSFLEET_ROLE: 'api' }, controlPlane =>
      withFleetData(controlPlane, SCALES[context.scale].servers, async () => {
        const measurements = [];
        for (const { name, path, bar } of ENDPOINTS) {
          const { url, token } = controlPlane;
          const own = await load(context, { url, token, path });
          const bare = await loadBareServer(context, controlPlane, own.bodyBytes);
          measurements.push({
            name,
            measured: perSecond(own),
            unit: 'requests/s',
            reference: { name: `node:http, constant ${own.bodyBytes} bytes`, value: perSecond(bare) },
            bar,
          });
        }
        return measurements;
      }),
    ),
};

const perSecond = ({ answers, wallMs }: LoadResult): number => (1000 * answers) / wallMs;

function load(context: Context, to: { url: string; token: string; path: string }): Promise<LoadResult> {
  const { hostname, port } = new URL(to.url);
  const { warmUpMs, measuredMs } = SCALES[context.scale];
  const { token, path } = to;
  const connections = CONNECTIONS;
  return context.runLoad({
    host: hostname,
    port: Number(port),
    path,
    token,
    connections,
    warmUpMs,
    measuredMs,
  });
}

async function loadBareServer(
  context: Context,
  { token }: ControlPlane,
  bodyBytes: number,
): Promise<LoadResult> {
  const server = startProgram({
    name: 'bare server',
    script: new URL('../references/fixed-server.ts', import.meta.url),
    args: [String(bodyBytes)],
  });
  try {
    const port = await server.nextLine();
    return await load(context, { url: `http://127.0.0.1:${port}`, token, path: '/' });
  } finally {
    await server.stop();
  }
}
