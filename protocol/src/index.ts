export {
  type ComponentReport,
  type ComponentStatus,
  componentSchema,
  type HealthReport,
  healthSchema,
  type ServicesReport,
} from './health.ts';
export { type MetricName, type MetricsReport, metricsSchema } from './metrics.ts';
