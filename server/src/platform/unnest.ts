import { type BinaryType, binaryArray } from './binary-array.ts';
import { type Sql, sql } from './db.ts';

/** A column's values. Of `numeric`, the text of an array is sent. */
export type Column = readonly [type: BinaryType | 'numeric', values: readonly unknown[]];

/** `unnest($1::uuid[], $2::text[], …)`: rows from columns of one length. Throws as `binaryArray` does. */
export function unnest(columns: readonly Column[]): Sql<unknown> {
  const arrays = columns.map(([type, values]) => {
    const parameter = type === 'numeric' ? values : binaryArray(type, values);
    return sql`${parameter}::${sql.raw(type)}[]`;
  });
  return sql`unnest(${sql.join(arrays)})`;
}
