import type { Process } from './process.ts';
import type { Random } from './random.ts';
import type { Timeline } from './timeline.ts';

/** In the name of the fault. */
export const partitioned = 'partitioned';

type Origin = { readonly origin: string };

/** Routes that lead nowhere: from one worker to one server, while both are well and reach everybody else. */
export type Partitions = {
  /** Until `heal`, the process does not reach some of the servers: few enough that it sees itself as sighted. */
  cut(process: Process, servers: readonly Origin[]): { heal(): void; count: number };
  isCut(process: Process, origin: string): boolean;
  /** Who was cut off from the server at any time since then. */
  cutSince(server: Origin, sinceMs: number): readonly Process[];
};

type Cut = { process: Process; origins: ReadonlySet<string>; untilMs: number };

export function createPartitions(timeline: Timeline, random: Random): Partitions {
  const cuts: Cut[] = [];
  return {
    cut(process, servers) {
      const origins = new Set(
        Array.from({ length: random.between(1, 6) }, () => random.pick(servers).origin),
      );
      const cut: Cut = { process, origins, untilMs: Number.POSITIVE_INFINITY };
      cuts.push(cut);
      return {
        count: origins.size,
        heal() {
          cut.untilMs = timeline.nowMs();
        },
      };
    },
    isCut: (process, origin) =>
      cuts.some(cut => cut.process === process && cut.untilMs > timeline.nowMs() && cut.origins.has(origin)),
    cutSince: ({ origin }, sinceMs) =>
      cuts.filter(cut => cut.untilMs > sinceMs && cut.origins.has(origin)).map(({ process }) => process),
  };
}
