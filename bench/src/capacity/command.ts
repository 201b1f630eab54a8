import { setTimeout as sleep } from 'node:timers/promises';
import { descriptorLimit } from '../../../server/src/platform/descriptors.ts';
import { observe } from '../observe.ts';
import { withPolledFleet } from '../polled-fleet.ts';
import { stopEverything } from '../processes.ts';
import { capacityOf, formatCapacity } from './capacity.ts';
import { type CapacityOptions, parseCapacityOptions, USAGE } from './options.ts';

/** `opsfleet bench`: what polling a fleet costs this machine. Returns the exit code. */
export async function benchCommand(argv: readonly string[]): Promise<number> {
  if (argv.includes('--help')) {
    console.log(USAGE);
    return 0;
  }
  const machine = { platform: process.platform, descriptors: descriptorLimit() };
  const commandLine = parseCapacityOptions(argv, machine);
  if (!commandLine.ok) {
    console.error(`opsfleet bench: ${commandLine.error}`);
    return 2;
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void stopEverything().then(() => process.exit(1)));
  }
  try {
    await measure(commandLine.options);
    return 0;
  } catch (error) {
    console.error(`opsfleet bench: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  }
}

async function measure(options: CapacityOptions): Promise<void> {
  const { servers, seconds, healthSeconds, tls, json } = options;
  console.error(`starting a fleet of ${servers} servers and an opsfleet to poll it`);
  const capacity = await withPolledFleet({ ...options, flags: tls ? ['--tls'] : [] }, async scene => {
    // One round opens the connections.
    console.error(`warming up for ${healthSeconds} s`);
    await sleep(healthSeconds * 1000);
    console.error(`measuring for ${seconds} s`);
    return capacityOf(options, await observe(scene, seconds));
  });
  console.log(json ? JSON.stringify(capacity) : formatCapacity(capacity));
}
