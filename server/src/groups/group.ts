import { type Static, Type } from 'typebox';
import { Instant, line, nullable } from '../platform/http/schemas.ts';
import { normalTags, Tags } from '../servers/server.ts';

const Texts = Type.Array(Type.String());

/** A group as the API shows it. */
export const ServerGroup = Type.Object(
  {
    id: Type.String({ format: 'uuid' }),
    organization_id: Type.String({ format: 'uuid' }),
    name: Type.String(),
    description: nullable(Type.String()),
    color: nullable(Type.String()),
    tags: Texts,
    regions: Texts,
    environments: Texts,
    server_count: Type.Integer({ description: 'Servers in it now: fixed members and those that match.' }),
    revision: Type.Integer({
      description: 'Counts changes; send it as If-Match to refuse overwriting others.',
    }),
    created_at: Instant,
    updated_at: Instant,
  },
  { title: 'ServerGroup', additionalProperties: false },
);

const criteria = {
  tags: Type.Optional(Tags),
  regions: Type.Optional(Type.Array(line(100), { maxItems: 100 })),
  environments: Type.Optional(Type.Array(line(50), { maxItems: 100 })),
};

export const GroupCriteriaBody = Type.Object(criteria, {
  title: 'GroupCriteria',
  additionalProperties: false,
});

export const GroupBody = Type.Object(
  {
    name: line(255),
    description: Type.Optional(nullable(Type.String({ maxLength: 2000 }))),
    color: Type.Optional(
      nullable(Type.String({ pattern: '^#[0-9A-Fa-f]{6}$', description: 'must be a colour like #1A2B3C' })),
    ),
    ...criteria,
  },
  {
    title: 'ServerGroupSettings',
    additionalProperties: false,
    description:
      'Servers that have all of the tags, are in one of the regions and in one of the environments belong to ' +
      'the group by themselves. A criterion left empty does not restrict; without any, only fixed members belong.',
  },
);

/** Which servers belong to a group by themselves. */
export type GroupCriteria = { tags: string[]; regions: string[]; environments: string[] };

export type GroupSettings = GroupCriteria & {
  name: string;
  description: string | null;
  color: string | null;
};

/** Criteria as they are stored: trimmed like the servers' own values, without repetitions, in the order given. */
export const criteriaOf = (body: Static<typeof GroupCriteriaBody>): GroupCriteria => ({
  tags: normalTags(body.tags ?? []),
  regions: normalTags(body.regions ?? []),
  environments: normalTags(body.environments ?? []),
});

/** A whole group's settings: what the body leaves out is empty. */
export const settingsOf = (body: Static<typeof GroupBody>): GroupSettings => ({
  name: body.name.trim(),
  description: body.description ?? null,
  color: body.color ?? null,
  ...criteriaOf(body),
});

/**
 * Whether a server belongs to a group by itself: it has all of the tags, one of the regions and one of the
 * environments. An empty criterion does not restrict, and no criteria at all match nothing. The store has the
 * same rule in SQL.
 */
export function matches(
  group: GroupCriteria,
  server: { tags: readonly string[]; region: string | null; environment: string | null },
): boolean {
  const { tags, regions, environments } = group;
  if (tags.length + regions.length + environments.length === 0) return false;
  return (
    tags.every(tag => server.tags.includes(tag)) &&
    (regions.length === 0 || (server.region !== null && regions.includes(server.region))) &&
    (environments.length === 0 || (server.environment !== null && environments.includes(server.environment)))
  );
}
