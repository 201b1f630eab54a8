import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { isTest, readSources, type Source } from './source.ts';

/** A rule's exceptions: the file, and why it may. One that is not needed any more fails too. */
type Exceptions = Readonly<Record<string, string>>;

const sources = readSources(['agent', 'bench', 'cli', 'protocol', 'scripts', 'sdk', 'server', 'web']);
const product = sources.filter(source => !isTest(source.path));
const serverSources = product.filter(source => source.path.startsWith('server/src/'));
const agentSources = product.filter(source => source.path.startsWith('agent/src/'));

it('looks at the whole repository', () => {
  for (const folder of [
    'agent/src/',
    'bench/src/',
    'cli/src/',
    'protocol/src/',
    'scripts/',
    'sdk/src/',
    'server/src/',
    'web/src/',
  ]) {
    expect(product.filter(source => source.path.startsWith(folder)).length, folder).toBeGreaterThan(0);
  }
});

/** Fails where a file breaks the rule without an exception, or has an exception and keeps the rule. */
function expectOnly(broken: readonly string[], exceptions: Exceptions): void {
  const files = [...new Set(broken)];
  expect(files.filter(each => exceptions[each] === undefined)).toEqual([]);
  expect(
    Object.keys(exceptions).filter(each => !files.includes(each)),
    'exceptions nobody needs',
  ).toEqual([]);
}

/** The folder, or the file at the top, of the server that a path lies in: its place in the order. */
const placeOf = (path: string): string | null =>
  /^server\/src\/([^/]+?)(\.ts)?(\/|$)/.exec(path)?.[1] ?? null;

describe('direction', () => {
  /** A file of the server imports from its own place and from those before it. */
  const order = [
    'permissions',
    'ids',
    'version',
    'platform',
    'retention',
    'events',
    'conditions',
    'organizations',
    'tokens',
    'secrets',
    'auth',
    'servers',
    'groups',
    'rollups',
    'health',
    'metrics',
    'polling',
    'live',
    'distribution',
    'system',
    'backup',
  ];
  /** They see everything before them; nobody but those behind them imports them. */
  const top = ['config', 'routes', 'workers', 'app', 'bootstrap', 'local-agent', 'main'];

  it('has a place for every folder and file', () => {
    const places = new Set(serverSources.map(source => placeOf(source.path)));
    places.delete('context');
    expect(places).toEqual(new Set([...order, ...top]));
  });

  it('goes from the features down, and never back', () => {
    const all = [...order, ...top];
    const wrong = serverSources.flatMap(({ path, imports }) =>
      imports
        .filter(({ to, isType }) => {
          const [from, target] = [placeOf(path)!, placeOf(to)];
          if (target === null || target === from) return false;
          // What handlers are given: it names types of every part, and every part names its type.
          if (from === 'context' || target === 'context') return !isType;
          return all.indexOf(target) > all.indexOf(from);
        })
        .map(({ to }) => `${path} imports ${to}`),
    );
    expect(wrong).toEqual([]);
  });

  it('keeps the programs apart', () => {
    /** What each program may import of the others; `type`: only what vanishes at run time. */
    const allowed: Record<string, Readonly<Record<string, 'type' | 'value'>>> = {
      protocol: {},
      sdk: {},
      agent: { protocol: 'type' },
      server: { protocol: 'value' },
      web: { sdk: 'value' },
      bench: { server: 'value', agent: 'value', protocol: 'value' },
      cli: { bench: 'value', server: 'value' },
      scripts: { server: 'value' },
    };
    const programOf = (to: string): string | null =>
      /^@opsfleet\/([^/]+)/.exec(to)?.[1] ??
      Object.keys(allowed).find(each => to.startsWith(`${each}/`)) ??
      null;
    const wrong = product.flatMap(({ path, imports }) =>
      imports
        .filter(({ to, isType }) => {
          const [from, target] = [programOf(path)!, programOf(to)];
          if (target === null || target === from) return false;
          // The contract is everybody's: forms are made from it.
          if (to === 'server/openapi.json') return false;
          const how = allowed[from]![target];
          return how === undefined || (how === 'type' && !isType);
        })
        .map(({ to }) => `${path} imports ${to}`),
    );
    expect(wrong).toEqual([]);
  });

  it('lets no program import a test', () => {
    expect(
      product.filter(({ imports }) => imports.some(({ to }) => isTest(to))).map(source => source.path),
    ).toEqual([]);
  });
});

describe('a table', () => {
  const migrations = globSync(fileURLToPath(new URL('../migrations/*.sql', import.meta.url)));
  const tables = migrations.flatMap(file =>
    [...readFileSync(file, 'utf8').matchAll(/^create table (\w+)/gm)].map(([, table]) => table!),
  );
  /** Who else may write a table, and why. */
  const guests: Exceptions = {
    'managed_servers by polling': 'what polling knows of a server, in columns that nobody else writes',
  };

  it('is written by one folder alone', () => {
    expect(tables.length).toBeGreaterThan(10);
    const writers = new Map<string, Set<string>>();
    for (const { path, text } of serverSources) {
      for (const [, table] of text.matchAll(/\b(?:insert into|update|delete from|merge into)\s+(\w+)/gi)) {
        if (!tables.includes(table!)) continue;
        writers.set(table!, (writers.get(table!) ?? new Set()).add(placeOf(path)!));
      }
    }
    expectOnly(
      tables.filter(table => !writers.has(table)),
      {
        fleet_operations: 'operations come with their engine',
        server_health_5m: 'rollups/store.ts, for health/rollup-store.ts',
        server_health_15m: 'as above',
        server_health_1h: 'as above',
        server_health_1d: 'as above',
        server_metrics_5m: 'rollups/store.ts, for metrics/rollup-store.ts',
        server_metrics_15m: 'as above',
        server_metrics_1h: 'as above',
        server_metrics_1d: 'as above',
        rollup_turns: 'its rows are locked and never change',
      },
    );
    const owners: Record<string, string> = { managed_servers: 'servers' };
    const shared = [...writers].flatMap(([table, folders]) => {
      const owner = owners[table] ?? [...folders][0];
      return [...folders].filter(folder => folder !== owner).map(folder => `${table} by ${folder}`);
    });
    expectOnly(shared, guests);
  });
});

describe('size', () => {
  const percentUpTo300 = 95;

  it('no file is longer than 400 lines, and nearly all are 300 at most', () => {
    expect(sources.filter(({ lines }) => lines > 400).map(source => source.path)).toEqual([]);
    const short = sources.filter(({ lines }) => lines <= 300).length;
    expect((100 * short) / sources.length).toBeGreaterThanOrEqual(percentUpTo300);
  });

  const longer = (limit: number) => (all: readonly Source[]) =>
    all.flatMap(({ path, functions }) =>
      functions.filter(({ lines }) => lines > limit).map(({ name }) => `${path} ${name}`),
    );

  it('no function is longer than 70 lines', () => {
    expectOnly(longer(70)(product), {
      'server/src/platform/instruments.ts createInstruments': 'a table: one declaration after the other',
    });
  });

  it('no function takes more than four parameters', () => {
    const broken = product.flatMap(({ path, functions }) =>
      functions.filter(({ parameters }) => parameters > 4).map(({ name }) => `${path} ${name}`),
    );
    expectOnly(broken, {});
  });
});

describe('what has one place only', () => {
  /** A name, the programs it is looked for in, and the files that may use it. */
  const rules: { what: string; use: RegExp; among: readonly Source[]; only: Exceptions }[] = [
    {
      what: 'the environment',
      use: /^process\.env$/,
      among: [...serverSources, ...agentSources],
      only: {
        'server/src/config.ts': 'every setting of the control plane',
        'agent/src/config.ts': 'every setting of the agent',
      },
    },
    {
      what: 'the time of day',
      use: /^(Date\.now|Date\(\)|new Date\(\)|performance\.now)$/,
      among: [...serverSources, ...agentSources],
      only: {
        'server/src/platform/clock.ts': 'the clock that everything is given',
        'agent/src/clock.ts': 'the clock that everything is given',
      },
    },
    {
      what: 'timers',
      use: /^(setTimeout|setInterval|setImmediate)\(\)$/,
      among: serverSources,
      only: {
        'server/src/platform/clock.ts': 'sleep',
        'server/src/platform/egress/timer.ts': 'deadlines of 100,000 connections share few timers',
        'server/src/platform/egress/connector.ts': 'the deadline of a connection ends its socket',
      },
    },
    {
      what: 'chance that an attacker could guess',
      use: /^Math\.random$/,
      among: [...serverSources, ...agentSources],
      only: {},
    },
    { what: 'outbound calls', use: /^fetch\(\)$/, among: [...serverSources, ...agentSources], only: {} },
    { what: 'the console', use: /^console\.\w+$/, among: [...serverSources, ...agentSources], only: {} },
  ];

  it.each(rules)('$what', ({ use, among, only }) => {
    const users = among.filter(({ uses }) => [...uses].some(name => use.test(name)));
    expectOnly(
      users.map(source => source.path),
      only,
    );
  });

  it('modules of Node that would go round these rules', () => {
    const behind = /^(node:)?(timers(\/promises)?|process)$/;
    const users = serverSources.filter(({ imports }) => imports.some(({ to }) => behind.test(to)));
    expect(users.map(source => source.path)).toEqual([]);
  });

  it('network modules', () => {
    const network = /^(undici|(node:)?(http2?|https|net|tls|dgram|dns|dns\/promises))$/;
    const users = serverSources.filter(
      ({ path, imports }) =>
        !path.startsWith('server/src/platform/egress/') &&
        !path.startsWith('server/src/platform/postgres/') &&
        imports.some(({ to, isType }) => network.test(to) && !isType),
    );
    expect(users.map(source => source.path)).toEqual([]);
  });
});

describe('forms that no file contains', () => {
  it('enum, namespace, parameter property, default export, any', () => {
    const broken = sources.flatMap(({ path, forms }) => forms.map(form => `${path} ${form}`));
    expectOnly(broken, {
      'server/test/app.ts any': 'a test looks into bodies of any shape',
      'web/vite.config.ts default export': 'its tool asks for one',
    });
  });

  it('notes to finish it later', () => {
    const note = /\b(TODO|FIXME|XXX|HACK)\b/;
    expect(
      sources.filter(({ comments }) => comments.some(text => note.test(text))).map(source => source.path),
    ).toEqual([]);
  });
});
