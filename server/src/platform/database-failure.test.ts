import pg from 'pg';
import { expect, it } from 'vitest';
import { violatedConstraint } from './database-failure.ts';

const failure = (message: string, constraint?: string): pg.DatabaseError =>
  Object.assign(new pg.DatabaseError(message, 0, 'error'), constraint === undefined ? {} : { constraint });

it('a violated constraint is known by its name, also where another machine of the cluster has refused the row', () => {
  const message = 'duplicate key value violates unique constraint';
  expect(violatedConstraint(failure(`${message} "groups_name_key"`, 'groups_name_key'))).toBe(
    'groups_name_key',
  );
  expect(violatedConstraint(failure(`${message} "groups_name_key_102345"`))).toBe('groups_name_key');
  expect(violatedConstraint(failure('no partition of relation "events" found for row'))).toBeNull();
});
