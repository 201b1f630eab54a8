import { createHash } from 'node:crypto';
import {
  type CompiledQuery,
  DummyDriver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type RawBuilder,
  sql,
} from 'kysely';
import type pg from 'pg';
import type { OrganizationId } from '../ids.ts';
import { arrayLiteral } from './array-literal.ts';
import {
  type Begin,
  type ConnectionOptions,
  type Connections,
  createConnections,
  type Run,
} from './connections.ts';

export { sql };
export type Sql<Row> = RawBuilder<Row>;

/** Something statements can be run on: a database handle or an open transaction. */
export type Queryable = {
  many<Row>(query: Sql<Row>): Promise<Row[]>;
  /** The only row, or null. More than one row is a bug and throws. */
  maybeOne<Row>(query: Sql<Row>): Promise<Row | null>;
  one<Row>(query: Sql<Row>): Promise<Row>;
  /** How many rows the statement touched. */
  execute(query: Sql<unknown>): Promise<number>;
};

/**
 * Statements on behalf of one organization. Row security shows them that organization alone, and every
 * statement names `organizationId` in its own predicate besides: the first is the net under the second.
 */
export type TenantTx = Queryable & { readonly organizationId: OrganizationId };
export type TenantDb = TenantTx & { transaction<T>(work: (tx: TenantTx) => Promise<T>): Promise<T> };

/** Statements of the system itself (polling, upkeep, sign-in), which cross organizations. */
export type SystemTx = Queryable & { readonly system: true };
export type SystemDb = SystemTx & { transaction<T>(work: (tx: SystemTx) => Promise<T>): Promise<T> };

export type Database = {
  tenant(organizationId: OrganizationId): TenantDb;
  system: SystemDb;
  /** A connection of its own, outside the pool, for LISTEN and for session locks. The caller ends it. */
  dedicated(): Promise<pg.Client>;
  /** Connections in use, idle, and callers waiting for one. */
  usage(): { total: number; idle: number; waiting: number };
  close(): Promise<void>;
};

// Only used to compile sql`…` into text and parameters; it never connects.
const compiler = new Kysely<Record<string, never>>({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: db => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  },
});

/** Names of prepared statements. Texts are few because values are always parameters; the cap is the net. */
const preparedNames = new Map<string, string>();
const maxPreparedNames = 500;

function preparedName(text: string): string | undefined {
  const known = preparedNames.get(text);
  if (known !== undefined) return known;
  if (preparedNames.size >= maxPreparedNames) return undefined;
  const name = createHash('sha1').update(text).digest('base64url');
  preparedNames.set(text, name);
  return name;
}

const plannedAnew = new WeakSet<object>();

/**
 * The same statement, but neither named nor kept: it is planned for its values each time. For one of which the text
 * differs from request to request, and one that reads much or little as its values are.
 */
export function planAnew<Row>(query: Sql<Row>): Sql<Row> {
  plannedAnew.add(query);
  return query;
}

const everything = '*';

/** Opens the pool. Connections are made on first use; `connect` failures surface as AppError `unavailable`. */
export function openDatabase(options: ConnectionOptions): Database {
  const connections = createConnections(options);
  const system: SystemDb = {
    system: true,
    ...statements(connections, everything),
    transaction: work => transaction(connections, everything, tx => work({ system: true, ...tx })),
  };
  return {
    system,
    tenant: organizationId => ({
      organizationId,
      ...statements(connections, organizationId),
      transaction: work => transaction(connections, organizationId, tx => work({ organizationId, ...tx })),
    }),
    dedicated: connections.dedicated,
    usage: connections.usage,
    close: connections.close,
  };
}

function statements(connections: Connections, who: string): Queryable {
  return queryable(query =>
    connections.use(who, (run, begin) =>
      begin.isNeeded ? inTransaction(run, begin, () => run(query)) : run(query),
    ),
  );
}

async function transaction<T>(
  connections: Connections,
  who: string,
  work: (tx: Queryable) => Promise<T>,
): Promise<T> {
  return connections.use(who, (run, begin) => inTransaction(run, begin, () => work(queryable(run))));
}

async function inTransaction<T>(run: Run, begin: Begin, work: () => Promise<T>): Promise<T> {
  await run({ text: begin.text });
  try {
    const result = await work();
    await run({ text: 'commit' });
    return result;
  } catch (error) {
    // A dead connection rolls back by itself; the first error is the one worth reporting.
    await run({ text: 'rollback' }).catch(() => undefined);
    throw error;
  }
}

function queryable(run: Run): Queryable {
  const query = (statement: Sql<unknown>): Promise<pg.QueryResult> => {
    const compiled: CompiledQuery = statement.compile(compiler);
    const name = plannedAnew.has(statement) ? undefined : preparedName(compiled.sql);
    const values = compiled.parameters.map(value =>
      Array.isArray(value) ? (arrayLiteral(value) ?? value) : value,
    );
    return run(name === undefined ? { text: compiled.sql, values } : { name, text: compiled.sql, values });
  };
  const many = async <Row>(statement: Sql<Row>): Promise<Row[]> => (await query(statement)).rows as Row[];
  const maybeOne = async <Row>(statement: Sql<Row>): Promise<Row | null> => {
    const rows = await many(statement);
    if (rows.length > 1) throw new Error(`expected at most one row, got ${rows.length}`);
    return rows[0] ?? null;
  };
  return {
    many,
    maybeOne,
    async one(statement) {
      const row = await maybeOne(statement);
      if (row === null) throw new Error('expected one row, got none');
      return row;
    },
    execute: async statement => (await query(statement)).rowCount ?? 0,
  };
}
