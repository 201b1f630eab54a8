#!/usr/bin/env node
import { startAgent } from './agent.ts';
import { systemClock } from './clock.ts';
import { processSettings } from './config.ts';
import { StartupError } from './errors.ts';
import { createLog } from './log.ts';

const log = createLog(line => process.stderr.write(line), systemClock);

// Whoever read our output may be gone: nobody to tell is no reason to stop reporting.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

async function main(): Promise<void> {
  const settings = processSettings();
  const agent = await startAgent(settings, systemClock, log);
  let stopping = false;
  const stop = (reason: string): void => {
    if (stopping) return;
    stopping = true;
    log.info('stopping', { reason });
    void agent.stop().then(() => process.exit(0));
  };
  process.on('SIGTERM', () => stop('SIGTERM'));
  process.on('SIGINT', () => stop('SIGINT'));
  if (settings.exitWithParent) {
    for (const event of ['end', 'close', 'error']) process.stdin.on(event, () => stop('the parent has gone'));
    process.stdin.resume();
  }
  const { url: listening, fingerprint } = agent;
  process.stdout.write(`${JSON.stringify({ listening, pid: process.pid, fingerprint })}\n`);
}

main().catch((error: unknown) => {
  if (!(error instanceof StartupError)) throw error;
  process.stderr.write(`opsfleet-agent: ${error.message}\n`);
  process.exitCode = 1;
});
