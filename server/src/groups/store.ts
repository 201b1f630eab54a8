import type { GroupId, ServerId } from '../ids.ts';
import { type Sql, sql, type TenantTx } from '../platform/db.ts';
import { serverJson } from '../servers/store.ts';
import type { GroupCriteria, GroupSettings } from './group.ts';

/**
 * `matches` of group.ts in SQL: whether a server (alias `s`) belongs by itself to a group (alias `g`). It is
 * null, which counts as false, where a region or environment is asked for and the server has none.
 */
const matchesGroup = sql`(
  (g.tags <> '[]' or g.regions <> '[]' or g.environments <> '[]')
  and s.tags @> g.tags
  and (g.regions = '[]' or g.regions ? s.region)
  and (g.environments = '[]' or g.environments ? s.environment))`;

/** Whether a server (alias `s`) is a fixed member of a group (alias `g`). */
const isFixedMember = sql`exists (
  select from server_group_members m
  where m.organization_id = g.organization_id and m.group_id = g.id and m.server_id = s.id)`;

/** Whether a server (alias `s`) is in a group, by itself or as a fixed member. */
export const isInGroup = (id: GroupId): Sql<unknown> => sql`exists (
  select from server_groups g
  where g.organization_id = s.organization_id and g.id = ${id} and (${isFixedMember} or ${matchesGroup}))`;

/** A group as the API shows it. Alias the table `g`, and have `server_count` in scope. */
const groupJson = sql`json_build_object(
  'id', g.id, 'organization_id', g.organization_id, 'name', g.name, 'description', g.description,
  'color', g.color, 'tags', g.tags, 'regions', g.regions, 'environments', g.environments,
  'server_count', server_count, 'revision', g.revision, 'created_at', rfc3339(g.created_at),
  'updated_at', rfc3339(g.updated_at))`;

export type GroupRow = { json: string; revision: number };

/** One group; null when the organization has none of this id. */
export async function findGroup(db: TenantTx, id: GroupId): Promise<GroupRow | null> {
  return db.maybeOne<GroupRow>(sql`
    select ${groupJson}::text as json, g.revision
    from server_groups g
    cross join lateral (
      select count(*) as server_count from managed_servers s
      where s.organization_id = g.organization_id and (${isFixedMember} or ${matchesGroup})
    ) members
    where g.organization_id = ${db.organizationId} and g.id = ${id}`);
}

/**
 * Groups by name, as JSON text. Every group is matched against the different combinations of tags, region
 * and environment that the fleet has, which are few, and not against each server; fixed members that do not
 * match are counted on top.
 */
export async function listGroups(
  db: TenantTx,
  page: { limit: number; offset: number },
): Promise<{ groups: string; count: number; total: number }> {
  return db.one(sql`
    with combinations as materialized (
      select s.tags, s.region, s.environment, count(*) as servers
      from managed_servers s where s.organization_id = ${db.organizationId}
      group by s.tags, s.region, s.environment
    ), page as materialized (
      select * from server_groups where organization_id = ${db.organizationId}
      order by name limit ${page.limit} offset ${page.offset}
    )
    select coalesce(json_agg(${groupJson} order by g.name), '[]')::text as groups,
           count(*)::int as count,
           (select count(*) from server_groups where organization_id = ${db.organizationId})::int as total
    from page g
    cross join lateral (
      select coalesce(sum(s.servers), 0) as matching from combinations s where ${matchesGroup}
    ) dynamic
    cross join lateral (
      select dynamic.matching + count(*) as server_count
      from server_group_members m
      join managed_servers s on s.organization_id = m.organization_id and s.id = m.server_id
      where m.organization_id = ${db.organizationId} and m.group_id = g.id and ${matchesGroup} is not true
    ) members`);
}

/** A page of a group's servers, as JSON text; the next page starts after `last_name`. */
export type GroupServers = {
  servers: string;
  fixed_server_ids: ServerId[];
  count: number;
  total: number;
  last_name: string | null;
};

/** The servers of a group by name, after `afterName`; null when the organization has no such group. */
export async function listGroupServers(
  db: TenantTx,
  id: GroupId,
  page: { limit: number; afterName: string | null },
): Promise<GroupServers | null> {
  const { limit, afterName } = page;
  return db.maybeOne<GroupServers>(sql`
    with members as materialized (
      select s.id, s.name, ${isFixedMember} as fixed
      from server_groups g join managed_servers s on s.organization_id = g.organization_id
      where g.organization_id = ${db.organizationId} and g.id = ${id} and (${isFixedMember} or ${matchesGroup})
    ), page as materialized (
      select * from members ${afterName === null ? sql`` : sql`where name > ${afterName}`}
      order by name limit ${limit}
    )
    select
      coalesce((
        select json_agg(${serverJson} order by s.name) from page
        join managed_servers s on s.organization_id = ${db.organizationId} and s.id = page.id), '[]')::text as servers,
      array(select id::text from page where fixed order by name) as fixed_server_ids,
      (select count(*) from page)::int as count,
      (select count(*) from members)::int as total,
      (select max(name) from page) as last_name
    from server_groups where organization_id = ${db.organizationId} and id = ${id}`);
}

/** How many servers criteria would match, and the first ten by name as JSON text. */
export async function previewMembers(
  db: TenantTx,
  { tags, regions, environments }: GroupCriteria,
): Promise<{ count: number; sample: string }> {
  return db.one(sql`
    with members as materialized (
      select s.id, s.name from managed_servers s
      cross join (select ${JSON.stringify(tags)}::jsonb as tags, ${JSON.stringify(regions)}::jsonb as regions,
                         ${JSON.stringify(environments)}::jsonb as environments) g
      where s.organization_id = ${db.organizationId} and ${matchesGroup}
    )
    select (select count(*) from members)::int as count,
      coalesce((
        select json_agg(${serverJson} order by s.name)
        from (select id from members order by name limit 10) first
        join managed_servers s on s.organization_id = ${db.organizationId} and s.id = first.id), '[]')::text as sample`);
}

/** Stores a new group. A name that is taken violates `server_groups_organization_id_name_key`. */
export async function insertGroup(tx: TenantTx, id: GroupId, group: GroupSettings, at: Date): Promise<void> {
  await tx.execute(sql`
    insert into server_groups (organization_id, id, name, description, color, tags, regions, environments,
      created_at, updated_at)
    values (${tx.organizationId}, ${id}, ${group.name}, ${group.description}, ${group.color},
      ${JSON.stringify(group.tags)}, ${JSON.stringify(group.regions)}, ${JSON.stringify(group.environments)},
      ${at}, ${at})`);
}

/** Whether the organization has such a group. */
export async function groupExists(db: TenantTx, id: GroupId): Promise<boolean> {
  const row = await db.maybeOne(sql`
    select from server_groups where organization_id = ${db.organizationId} and id = ${id}`);
  return row !== null;
}

/** The revision of a group, locked until the end of the transaction; null when there is none. */
export async function lockGroup(tx: TenantTx, id: GroupId): Promise<{ revision: number } | null> {
  return tx.maybeOne<{ revision: number }>(sql`
    select revision from server_groups
    where organization_id = ${tx.organizationId} and id = ${id} for no key update`);
}

/** Replaces all settings of a group; its fixed members stay. */
export async function updateGroup(tx: TenantTx, id: GroupId, group: GroupSettings, at: Date): Promise<void> {
  await tx.execute(sql`
    update server_groups set name = ${group.name}, description = ${group.description}, color = ${group.color},
      tags = ${JSON.stringify(group.tags)}, regions = ${JSON.stringify(group.regions)},
      environments = ${JSON.stringify(group.environments)}, revision = revision + 1, updated_at = ${at}
    where organization_id = ${tx.organizationId} and id = ${id}`);
}

/** Deletes a group; its servers stay. Returns its name, or null when there was none. */
export async function deleteGroup(tx: TenantTx, id: GroupId): Promise<string | null> {
  const row = await tx.maybeOne<{ name: string }>(sql`
    delete from server_groups where organization_id = ${tx.organizationId} and id = ${id} returning name`);
  return row?.name ?? null;
}

/** The ids that are servers of the organization, kept from being deleted until the end of the transaction. */
export async function holdServers(tx: TenantTx, ids: readonly ServerId[]): Promise<Set<ServerId>> {
  const rows = await tx.many<{ id: ServerId }>(sql`
    select id from managed_servers
    where organization_id = ${tx.organizationId} and id = any(${ids}::uuid[])
    for key share`);
  return new Set(rows.map(row => row.id));
}

/** Makes servers fixed members. Returns those that were not before. The group and the servers must exist. */
export async function addMembers(
  tx: TenantTx,
  id: GroupId,
  serverIds: readonly ServerId[],
  at: Date,
): Promise<ServerId[]> {
  const rows = await tx.many<{ server_id: ServerId }>(sql`
    insert into server_group_members (organization_id, server_id, group_id, added_at)
    select ${tx.organizationId}, server_id, ${id}, ${at} from unnest(${serverIds}::uuid[]) as server_id
    on conflict do nothing returning server_id`);
  return rows.map(row => row.server_id);
}

/** Ends a fixed membership; false when there was none. */
export async function removeMember(tx: TenantTx, id: GroupId, serverId: ServerId): Promise<boolean> {
  const removed = await tx.execute(sql`
    delete from server_group_members
    where organization_id = ${tx.organizationId} and group_id = ${id} and server_id = ${serverId}`);
  return removed === 1;
}
