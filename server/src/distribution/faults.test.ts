import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/database.ts';
import { sql } from '../platform/db.ts';
import { partitionedTables } from '../retention/partitions.ts';
import { faultsOf, withoutSubselects } from './faults.ts';
import { type Placement, placement } from './tables.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.close());

it('the schema can be distributed, and each of its tables has one place', async () => {
  expect(await faultsOf(database.db.system, placement)).toEqual([]);
});

it('every history is distributed, and events are not', () => {
  const histories = partitionedTables.filter(table => table !== 'events');
  expect(placement.distributed).toEqual(expect.arrayContaining(histories));
  expect(Object.keys(placement.local)).toContain('events');
});

/** What is said of a schema in which somebody has made a fault; it is as before afterwards. */
async function faultsAfter(statement: string, places: Placement = placement): Promise<string[]> {
  const undone = new Error('undone');
  let found: string[] = [];
  await database.db.system
    .transaction(async tx => {
      await tx.execute(sql.raw(statement));
      found = await faultsOf(tx, places);
      throw undone;
    })
    .catch(error => {
      if (error !== undone) throw error;
    });
  return found;
}

const withTable = (name: string): Placement => ({
  ...placement,
  distributed: [...placement.distributed, name],
});
const key = 'organization_id uuid not null, id uuid not null, primary key (organization_id, id)';

describe('a table', () => {
  it('has a place, one, and exists', async () => {
    expect(await faultsAfter('create table stray (id int)')).toEqual([
      'stray: is neither distributed nor a reference table nor local; say which',
    ]);
    const twice = { ...placement, local: { ...placement.local, sessions: 'by mistake' } };
    expect(await faultsAfter('select 1', twice)).toEqual(['sessions: has more than one place']);
    expect(await faultsAfter('select 1', withTable('absent'))).toEqual([
      'absent: has a place, and there is no such table',
    ]);
  });

  const columns: [string, string, string][] = [
    ['is missing', 'id uuid primary key', 'extra.organization_id: a distributed table must have it'],
    [
      'is of another type',
      'organization_id text not null, id uuid, primary key (organization_id, id)',
      'extra.organization_id: must be a uuid, and is text',
    ],
    ['may be null', 'organization_id uuid, id uuid primary key', 'extra.organization_id: must be not null'],
  ];
  it.each(columns)('names it where its organization %s', async (_what, definition, fault) => {
    expect(await faultsAfter(`create table extra (${definition})`, withTable('extra'))).toContain(fault);
  });
});

const planted: [what: string, statement: string, fault: string][] = [
  [
    'a unique index without the organization',
    'create unique index by_hash on api_tokens (secret_hash)',
    'api_tokens: unique index by_hash (secret_hash) must contain organization_id',
  ],
  [
    'a unique index that only carries the organization along',
    'create unique index by_hash on api_tokens (secret_hash) include (organization_id)',
    'api_tokens: unique index by_hash (secret_hash) must contain organization_id',
  ],
  [
    'a unique index of an expression',
    'create unique index by_name on server_groups (lower(name))',
    'server_groups: unique index by_name (an expression) must contain organization_id',
  ],
  [
    'an exclusion without the organization',
    'alter table fleet_operations add constraint one_at_a_time exclude (status with =)',
    'fleet_operations: unique index one_at_a_time (status) must contain organization_id',
  ],
  [
    'no primary key',
    'alter table health_check_jobs drop constraint health_check_jobs_pkey',
    'health_check_jobs: has no primary key',
  ],
  [
    'a reference by another column',
    'alter table server_groups add other uuid, add constraint away foreign key (other, id) references managed_servers (organization_id, id)',
    'server_groups (other, id): foreign key away to managed_servers must have organization_id in the same position at both ends',
  ],
  [
    'a reference that swaps the columns',
    'alter table server_groups add constraint away foreign key (id, organization_id) references managed_servers (organization_id, id)',
    'server_groups (id, organization_id): foreign key away to managed_servers must have organization_id in the same position at both ends',
  ],
  [
    'a reference that sets the organization to null',
    'alter table server_groups add constraint away foreign key (organization_id, id) references managed_servers on delete set null',
    'server_groups (organization_id, id): foreign key away to managed_servers may not change organization_id by itself',
  ],
  [
    'a reference to a table that comes later',
    'alter table managed_servers add constraint away foreign key (organization_id, id) references data_keys',
    'managed_servers (organization_id, id): foreign key away to data_keys goes to a table that is distributed later',
  ],
  [
    'a reference to a local table',
    'alter table server_groups add constraint away foreign key (organization_id, id) references deleted_servers',
    'server_groups (organization_id, id): foreign key away to deleted_servers goes to a local table',
  ],
  [
    'a reference from a local table',
    'alter table deleted_servers add constraint away foreign key (organization_id, server_id) references managed_servers',
    'deleted_servers (organization_id, server_id): foreign key away to managed_servers goes from a table that is not distributed to or from one that is not local',
  ],
  [
    'a default partition',
    'create table server_metrics_1d_rest partition of server_metrics_1d default',
    'server_metrics_1d: may have no default partition',
  ],
  [
    'partitions of partitions',
    "create table deep partition of server_metrics_1d for values from ('2031-01-01') to ('2031-02-01') partition by hash (server_id)",
    'server_metrics_1d: its partition deep is partitioned again',
  ],
  [
    'a trigger',
    'create trigger watch after delete on sessions for each statement execute function remember_deleted_servers()',
    'sessions: trigger watch would not be there',
  ],
  [
    'an identity column',
    'alter table sessions add number bigint generated always as identity',
    'sessions.number: is an identity column; give it a sequence as its default',
  ],
  [
    'a short sequence',
    'alter table sessions add number serial',
    'sessions.number: its sequence must be a bigint',
  ],
  [
    'a default that is the number of a transaction',
    'alter table sessions add xid xid8 default pg_current_xact_id()',
    'sessions.xid: its default is of one machine: pg_current_xact_id()',
  ],
  [
    'a second policy',
    'create policy readers on sessions for select using (true)',
    'sessions: policy readers is none that opsfleet db distribute knows how to distribute',
  ],
  [
    'a policy that asks another table',
    'alter policy tenant on sessions using (organization_id in (select id from organizations))',
    'sessions: policy tenant is none that opsfleet db distribute knows how to distribute',
  ],
];

describe('a table that cannot be distributed is named with what keeps it from that:', () => {
  it.each(planted)('%s', async (_what, statement, fault) => {
    expect(await faultsAfter(statement)).toContain(fault);
  });

  it('partitions by a list, and by what is not in the key', async () => {
    const partitioned = (by: string) =>
      faultsAfter(
        `create table extra (organization_id uuid not null, at date not null) partition by ${by}`,
        withTable('extra'),
      );
    expect(await partitioned('list (at)')).toContain('extra: must be partitioned by the range of one column');
    expect(await partitioned('range (at)')).toContain(
      'extra.at: partitioned by it, and it is not in the primary key',
    );
  });
});

it('finds nothing wrong with a table that keeps the rules', async () => {
  const table = `create table extra (${key}, foreign key (organization_id, id) references managed_servers on delete cascade)`;
  expect(await faultsAfter(table, withTable('extra'))).toEqual([]);
});

it('takes from a condition only what calls a function once for a statement', () => {
  expect(
    withoutSubselects(
      '((id = ( SELECT current_organization() AS current_organization)) OR ( SELECT is_system() AS is_system))',
    ),
  ).toBe('((id = current_organization()) OR is_system())');
  expect(withoutSubselects('(id IN ( SELECT t.id FROM t))')).toBe('(id IN ( SELECT t.id FROM t))');
});
