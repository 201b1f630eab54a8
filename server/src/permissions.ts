/** Who may do what. Roles are the seed's: viewer reads, operator runs checks and operations, admin everything. */
export const roles = ['viewer', 'operator', 'admin'] as const;
export type Role = (typeof roles)[number];

const granted = {
  'fleet:read': ['viewer', 'operator', 'admin'],
  'health:check': ['operator', 'admin'],
  'metrics:collect': ['admin'],
  'servers:write': ['admin'],
  'groups:write': ['admin'],
  'workers:read': ['admin'],
  'tokens:manage': ['admin'],
  'organization:manage': ['admin'],
} as const satisfies Record<string, readonly Role[]>;

export type Permission = keyof typeof granted;

/** What a route may require: a permission, any signed-in principal, or nothing at all. */
export type RoutePermission = Permission | 'signed-in' | 'public';

export const permissions = Object.keys(granted) as Permission[];

/** Whether the role carries the permission. */
export function may(role: Role, permission: Permission): boolean {
  return (granted[permission] as readonly Role[]).includes(role);
}
