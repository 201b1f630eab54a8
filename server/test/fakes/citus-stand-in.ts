import { Client } from 'pg';
import { inject } from 'vitest';
import type { TestDatabase } from '../database.ts';

/** What a stand-in for Citus was told, in order. */
export type CitusStandIn = {
  calls(): Promise<string[]>;
  /** Refuses to distribute this table from now on; null: none. */
  refuse(table: string | null): Promise<void>;
  /** What its catalog says beyond that, as the superuser. */
  run(statement: string): Promise<void>;
};

/**
 * Not Citus: functions and tables of the same names, in a database of a test's own, that write down what they are called
 * for and distribute nothing. It shows what is asked of Citus, in which order; whether Citus does it, only Citus shows.
 */
export async function standInForCitus({ connection }: TestDatabase): Promise<CitusStandIn> {
  const { superuser } = inject('postgres');
  async function asSuperuser<Row extends object>(text: string): Promise<Row[]> {
    const client = new Client({ ...connection, user: superuser });
    await client.connect();
    try {
      await client.query('set allow_system_table_mods to on');
      const { rows } = await client.query<Row>(text);
      return rows;
    } finally {
      await client.end();
    }
  }
  await asSuperuser(`
    create table pg_catalog.pg_dist_node (isactive bool, shouldhaveshards bool, noderole text);
    insert into pg_catalog.pg_dist_node values (true, true, 'primary'), (true, true, 'primary');
    create table pg_catalog.pg_dist_object (classid oid, objid oid);
    create table pg_catalog.pg_dist_partition (logicalrelid regclass, partmethod "char", repmodel "char");
    create table pg_catalog.stand_in_calls (place serial, call text);
    create table pg_catalog.stand_in_refusal (relation regclass);
    grant select on pg_catalog.pg_dist_node, pg_catalog.pg_dist_object, pg_catalog.pg_dist_partition to public;
    create function pg_catalog.citus_is_coordinator() returns bool language sql as 'select true';
    create function pg_catalog.create_reference_table(relation regclass) returns void security definer language sql as $$
      insert into pg_catalog.pg_dist_partition values (relation, 'n', 't');
      insert into pg_catalog.stand_in_calls (call) values ('reference ' || relation);
    $$;
    create function pg_catalog.create_distributed_table(relation regclass, distribution_column text, colocate_with text)
      returns void security definer language plpgsql as $$
      begin
        if exists (select from pg_catalog.stand_in_refusal r where r.relation = $1) then
          raise 'the stand-in refuses %', relation;
        end if;
        insert into pg_catalog.pg_dist_partition values (relation, 'h', 's');
        insert into pg_catalog.stand_in_calls (call)
        values ('distributed ' || relation || ' by ' || distribution_column || ' with ' || colocate_with);
      end $$;
    create function pg_catalog.create_distributed_function(name text) returns void security definer language sql as $$
      insert into pg_catalog.pg_dist_object values ('pg_proc'::regclass, name::regprocedure);
      insert into pg_catalog.stand_in_calls (call) values ('function ' || name);
    $$;
    create function pg_catalog.truncate_local_data_after_distributing_table(relation regclass)
      returns void security definer language plpgsql as $$
      begin
        insert into pg_catalog.stand_in_calls (call) values ('truncated ' || relation);
      end $$;`);
  return {
    async calls() {
      const rows = await asSuperuser<{ call: string }>(
        'select call from pg_catalog.stand_in_calls order by place',
      );
      return rows.map(({ call }) => call);
    },
    async refuse(table) {
      await asSuperuser('delete from pg_catalog.stand_in_refusal');
      if (table !== null) await asSuperuser(`insert into pg_catalog.stand_in_refusal values ('${table}')`);
    },
    async run(statement) {
      await asSuperuser(statement);
    },
  };
}
