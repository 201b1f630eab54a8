import { useSuspenseQuery } from '@tanstack/react-query';
import { sessionQuery } from '../api.ts';

/** Why who is signed in may not do this, or undefined where they may: for a control's `unavailable`. */
export function useRefusal(permission: 'servers:write' | 'health:check'): string | undefined {
  const { data } = useSuspenseQuery(sessionQuery);
  return data.permissions.includes(permission) ? undefined : `The role ${data.role} may not do this`;
}
