import { writeFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { BEHAVIOURS } from './behaviour.ts';
import { parseCommandLine, USAGE } from './options.ts';
import { type Simulator, startSimulator } from './simulator.ts';

/** A finer watch of the event loop would cost more than a small fleet: 10 ms took 0.5 % of a core. */
const LOOP_WATCH_MS = 50;

/** Its own stalls make arrivals look late; beside the lateness they tell whose fault it was. */
const loopDelay = monitorEventLoopDelay({ resolution: LOOP_WATCH_MS });

async function main(argv: readonly string[]): Promise<void> {
  if (argv.includes('--help')) {
    console.log(USAGE);
    return;
  }
  const commandLine = parseCommandLine(argv);
  if (!commandLine.ok) {
    fail(commandLine.error);
    return;
  }

  let simulator: Simulator | undefined;
  try {
    simulator = await startSimulator(commandLine.options);
    const { targetsFile, authoritiesFile } = commandLine;
    if (targetsFile !== undefined) writeTargets(simulator, targetsFile);
    if (authoritiesFile !== undefined) writeFileSync(authoritiesFile, simulator.authorities ?? '');
  } catch (error) {
    fail(explain(error));
    await simulator?.stop();
    return;
  }
  serve(simulator);
}

/** Announces the simulator and obeys signals and standard input until SIGINT or SIGTERM. */
function serve(simulator: Simulator): void {
  loopDelay.enable();
  process.on('SIGUSR2', () => printStats(simulator));
  const stop = (): void => {
    printStats(simulator);
    // What keeps the process alive is the simulator and standard input; both are let go here.
    process.stdin.destroy();
    void simulator.stop();
  };
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  createInterface({ input: process.stdin }).on('line', line => {
    obey(simulator, line).catch((error: unknown) => printLine({ event: 'error', error: explain(error) }));
  });

  const { port, targets } = simulator;
  const scheme = simulator.authorities === undefined ? 'http' : 'https';
  const [from, to] = [targets[0], targets.at(-1)];
  printLine({
    event: 'ready',
    pid: process.pid,
    servers: targets.length,
    first: from?.index,
    port,
    scheme,
    urls: [from?.url, to?.url],
  });
}

async function obey(simulator: Simulator, line: string): Promise<void> {
  const [command, which, name] = line.trim().split(/\s+/);
  if (command === 'stats') {
    printStats(simulator);
  } else if (command === 'reset') {
    simulator.resetStats();
    loopDelay.reset();
    printLine({ event: 'reset' });
  } else if (command === 'authorities') {
    printLine({ event: 'authorities', authorities: simulator.authorities });
  } else if (command === 'answered' && (which === 'health' || which === 'metrics')) {
    printLine({ event: 'answered', kind: which, answered: simulator.answered(which) });
  } else if (command === 'behaviour') {
    const behaviour = BEHAVIOURS.find(known => known === name);
    const place = Number(which);
    if (behaviour === undefined || simulator.targets[place] === undefined) {
      const last = simulator.targets.length - 1;
      printLine({
        event: 'error',
        error: `behaviour takes a place from 0 to ${last} and one of ${BEHAVIOURS.join(' ')}`,
      });
      return;
    }
    await simulator.setBehaviour(place, behaviour);
    printLine({ event: 'behaviour', place, behaviour });
  } else if (command !== '') {
    printLine({
      event: 'error',
      error: 'the commands are stats, reset, authorities, answered KIND, and behaviour PLACE NAME',
    });
  }
}

function printStats(simulator: Simulator): void {
  const { user, system } = process.cpuUsage();
  printLine({
    event: 'stats',
    cpuMs: Math.round((user + system) / 1000),
    // What is recorded is the time from watch to watch.
    loopDelayMaxMs: Math.max(0, Math.round(loopDelay.max / 1e6 - LOOP_WATCH_MS)),
    ...simulator.stats(),
  });
}

function printLine(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

function writeTargets(simulator: Simulator, file: string): void {
  const lines = simulator.targets.map(({ index, url, token }, place) =>
    JSON.stringify({ index, url, token, behaviour: simulator.behaviourOf(place) }),
  );
  writeFileSync(file, `${lines.join('\n')}\n`, { mode: 0o600 });
}

function explain(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  const message = error instanceof Error ? error.message : String(error);
  if (code === 'EMFILE') return `${message}: raise "ulimit -n" or simulate fewer --servers`;
  if (code === 'EADDRINUSE') return `${message}: choose another --port`;
  if (code === 'EADDRNOTAVAIL')
    return `${message}: the simulator needs Linux, where all of 127.0.0.0/8 is loopback`;
  return message;
}

function fail(message: string): void {
  console.error(`simulator: ${message}`);
  process.exitCode = 1;
}

await main(process.argv.slice(2));
