import { planAnew, type Queryable, type Sql, sql, type TenantDb, type TenantTx } from '../src/platform/db.ts';

type Plan = { 'Relation Name'?: string; 'Actual Loops': number; Plans?: Plan[] };

/** The tables that a plan really read. */
const readBy = (plan: Plan): string[] => [
  ...(plan['Relation Name'] !== undefined && plan['Actual Loops'] > 0 ? [plan['Relation Name']] : []),
  ...(plan.Plans ?? []).flatMap(readBy),
];

/** Those tables of which the names begin so that what is asked of the database reads, in order. Answers are as without. */
export async function tablesRead(
  tenant: TenantDb,
  prefix: string,
  ask: (db: TenantTx) => Promise<unknown>,
): Promise<string[]> {
  const tables = new Set<string>();
  const explain = async (query: Sql<unknown>): Promise<void> => {
    const explained = sql<{ 'QUERY PLAN': [{ Plan: Plan }] }>`explain (analyze, format json) ${query}`;
    const { 'QUERY PLAN': plans } = await tenant.one(planAnew(explained));
    for (const table of readBy(plans[0].Plan)) if (table.startsWith(prefix)) tables.add(table);
  };
  const explaining = <Method extends 'many' | 'one' | 'maybeOne'>(method: Method): Queryable[Method] =>
    (async (query: Sql<unknown>) => {
      await explain(query);
      return tenant[method](query);
    }) as Queryable[Method];
  const db = {
    ...tenant,
    many: explaining('many'),
    one: explaining('one'),
    maybeOne: explaining('maybeOne'),
  };
  await ask(db);
  return [...tables].toSorted();
}
