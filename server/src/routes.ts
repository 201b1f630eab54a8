import { authRoutes } from './auth/routes.ts';
import { groupRoutes } from './groups/routes.ts';
import { checkRoutes } from './health/check-routes.ts';
import { currentHealthRoutes } from './health/current-routes.ts';
import { healthExportRoutes } from './health/export-routes.ts';
import { healthHistoryRoutes } from './health/history-routes.ts';
import { healthQueryRoutes } from './health/query-routes.ts';
import { uptimeRoutes } from './health/uptime-routes.ts';
import { liveRoutes } from './live/routes.ts';
import { metricExportRoutes } from './metrics/export-routes.ts';
import { fleetMetricRoutes } from './metrics/fleet-routes.ts';
import { metricQueryRoutes } from './metrics/query-routes.ts';
import { metricRoutes } from './metrics/routes.ts';
import { retentionRoutes } from './organizations/routes.ts';
import type { Route } from './platform/http/route.ts';
import { pollingRoutes } from './polling/routes.ts';
import { serverRoutes } from './servers/routes.ts';
import { systemRoutes } from './system/routes.ts';
import { storageRoutes } from './system/storage-routes.ts';
import { tokenRoutes } from './tokens/routes.ts';

/** Everything a request can cause. */
export const routes: readonly Route[] = [
  ...serverRoutes,
  ...checkRoutes,
  ...currentHealthRoutes,
  ...healthHistoryRoutes,
  ...uptimeRoutes,
  ...healthQueryRoutes,
  ...healthExportRoutes,
  ...metricRoutes,
  ...metricQueryRoutes,
  ...fleetMetricRoutes,
  ...metricExportRoutes,
  ...groupRoutes,
  ...pollingRoutes,
  ...liveRoutes,
  ...authRoutes,
  ...tokenRoutes,
  ...retentionRoutes,
  ...storageRoutes,
  ...systemRoutes,
];
