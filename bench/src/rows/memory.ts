import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Context, Row } from '../context.ts';
import { cpuMs, pssBytes } from '../proc.ts';
import { type Program, startProgram } from '../processes.ts';

const SCALES = {
  full: { servers: 1_000, healthSeconds: 5, rounds: 5, agentMs: 4_000 },
  quick: { servers: 100, healthSeconds: 1, rounds: 3, agentMs: 700 },
};

const AGENT_TOKEN = 'opsfleet-bench-agent-token-0123456789';
const MEGABYTE = 1e6;

/** About what the agent answers. */
const BARE_BODY_BYTES = 250;

type Footprint = { megabytes: number; healthUs: number; metricsUs: number };

/** What the control plane needs at 1,000 servers, and what the agent costs the host that it is on. */
export const memory: Row = {
  name: 'memory',
  async run(context) {
    const controlPlaneMegabytes = await controlPlanePeak(context);
    const bare = await footprint(context, startBareServer());
    const agent = await withAgent(program => footprint(context, program));
    const name = 'bare node:http';
    return [
      {
        name: 'resident, control plane and PostgreSQL',
        measured: controlPlaneMegabytes,
        unit: 'MB',
        reference: { name, value: bare.megabytes },
        bar: '≤ 350',
      },
      {
        name: 'resident, agent',
        measured: agent.megabytes,
        unit: 'MB',
        reference: { name, value: bare.megabytes },
      },
      {
        name: 'agent, GET /health',
        measured: agent.healthUs,
        unit: 'µs CPU/request',
        reference: { name, value: bare.healthUs },
      },
      {
        name: 'agent, GET /api/v1/metrics/current',
        measured: agent.metricsUs,
        unit: 'µs CPU/request',
        reference: { name, value: bare.metricsUs },
      },
    ];
  },
};

/** The most it held at any moment of the last round, with metrics collected in every second one. */
function controlPlanePeak(context: Context): Promise<number> {
  const { servers, healthSeconds, rounds } = SCALES[context.scale];
  const settings = {
    FLEET_HEALTH_INTERVAL: String(healthSeconds),
    FLEET_METRICS_INTERVAL: String(2 * healthSeconds),
  };
  return context.withSimulator(servers, [], simulator =>
    context.withControlPlane(settings, async controlPlane => {
      await controlPlane.registerFleet(simulator.targets);
      await sleep((rounds - 1) * healthSeconds * 1000);
      let peakBytes = 0;
      const endMs = performance.now() + healthSeconds * 1000;
      while (performance.now() < endMs) {
        const { own, postgres } = await controlPlane.residentBytes();
        peakBytes = Math.max(peakBytes, own + postgres);
        await sleep(500);
      }
      return peakBytes / MEGABYTE;
    }),
  );
}

/** Asks over one connection as fast as it answers, and stops the program. Its first line names its port. */
async function footprint(context: Context, program: Program): Promise<Footprint> {
  try {
    const port = portOf(await program.nextLine());
    const measuredMs = SCALES[context.scale].agentMs;
    const costUs = async (path: string): Promise<number> => {
      const run = { host: '127.0.0.1', port, path, token: AGENT_TOKEN, connections: 1, warmUpMs: 0 };
      await context.runLoad({ ...run, measuredMs: measuredMs / 4 });
      const before = await cpuMs(program.pid);
      const { answers } = await context.runLoad({ ...run, measuredMs });
      return (1000 * ((await cpuMs(program.pid)) - before)) / answers;
    };
    const healthUs = await costUs('/health');
    const metricsUs = await costUs('/api/v1/metrics/current');
    return { megabytes: (await pssBytes(program.pid)) / MEGABYTE, healthUs, metricsUs };
  } finally {
    await program.stop();
  }
}

/** The bare server prints its port, the agent a JSON object with its address. */
function portOf(line: string): number {
  const ready: number | { listening: string } = JSON.parse(line);
  return typeof ready === 'number' ? ready : Number(new URL(ready.listening).port);
}

function startBareServer(): Program {
  const script = new URL('../references/fixed-server.ts', import.meta.url);
  return startProgram({ name: 'bare server', script, args: [String(BARE_BODY_BYTES)] });
}

/** The real agent, looking at this machine. */
async function withAgent<T>(use: (program: Program) => Promise<T>): Promise<T> {
  const dataDir = await mkdtemp(join(tmpdir(), 'opsfleet-bench-agent-'));
  try {
    return await use(
      startProgram({
        name: 'agent',
        script: new URL('../../../agent/src/main.ts', import.meta.url),
        env: {
          PATH: process.env['PATH'] ?? '',
          OPSFLEET_AGENT_TOKEN: AGENT_TOKEN,
          OPSFLEET_AGENT_HOST: '127.0.0.1',
          OPSFLEET_AGENT_PORT: '0',
          OPSFLEET_AGENT_TLS: 'off',
          OPSFLEET_AGENT_DATA_DIR: dataDir,
        },
      }),
    );
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}
