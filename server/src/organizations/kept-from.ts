import { Type } from 'typebox';
import type { Horizon } from './retention.ts';

/** What an answer of history says of how far back there is any. */
export const KeptFrom = Type.String({
  format: 'date-time',
  description:
    'From here on it is kept; of before that, nothing or not all is told. See /api/v1/fleet/retention.',
});

/** The same as a part of a JSON object. */
export const keptFromJson = ({ keptFrom }: Horizon): string => `"kept_from":"${keptFrom.toISOString()}"`;
