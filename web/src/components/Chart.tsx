import { useEffect, useRef } from 'react';
import '../lib/language.ts';
import UPlot from 'uplot';
import { formatClock, formatMinute } from '../lib/dates.ts';
import type { Sample } from '../lib/series.ts';

/** One line of a chart. All lines of a chart have samples at the same times. */
export type Line = { name: string; samples: readonly Sample[] };

type Props = {
  lines: readonly Line[];
  /** In pixels; the width is that of the place. */
  height: number;
  /** The scale goes from 0 to 100. */
  isPercent: boolean;
  format(value: number | null): string;
};

const hourSeconds = 3_600;
// Colour and dashes both tell the lines apart.
const strokes = [
  { color: '--series-1', dash: [] },
  { color: '--series-2', dash: [5, 3] },
] as const;

/**
 * Lines over the last hour, drawn on a canvas: decoration for who sees, with the same told in words and in a
 * table beside it. The cursors of all charts on a page move together.
 */
export function Chart({ lines, height, isPercent, format }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const readout = useRef<HTMLParagraphElement>(null);
  const plot = useRef<UPlot | null>(null);
  const latest = useRef({ lines, format });
  useEffect(() => {
    latest.current = { lines, format };
    plot.current?.setData(dataOf(lines));
  }, [lines, format]);
  useEffect(() => {
    const element = place.current!;
    const draw = (): void => {
      plot.current?.destroy();
      plot.current = new UPlot(
        optionsOf({ width: element.clientWidth, height, isPercent, latest, readout: readout.current! }),
        dataOf(latest.current.lines),
        element,
      );
    };
    draw();
    const resized = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height }));
    resized.observe(element);
    // Colours are taken from the theme when the plot is made.
    const scheme = matchMedia('(prefers-color-scheme: dark)');
    scheme.addEventListener('change', draw);
    document.addEventListener('themechange', draw);
    return () => {
      resized.disconnect();
      scheme.removeEventListener('change', draw);
      document.removeEventListener('themechange', draw);
      plot.current?.destroy();
      plot.current = null;
    };
  }, [height, isPercent]);

  return (
    <div aria-hidden="true">
      {/* A canvas keeps its old width until it is drawn anew, and must not widen the page meanwhile. */}
      <div ref={place} className="overflow-hidden" style={{ height }} />
      <p ref={readout} className="numbers h-4 truncate text-xs text-muted" />
    </div>
  );
}

const dataOf = (lines: readonly Line[]): UPlot.AlignedData => [
  lines[0]!.samples.map(sample => sample.at / 1000),
  ...lines.map(line => line.samples.map(sample => sample.value)),
];

type Drawing = {
  width: number;
  height: number;
  isPercent: boolean;
  latest: { readonly current: { lines: readonly Line[]; format(value: number | null): string } };
  readout: HTMLElement;
};

function optionsOf({ width, height, isPercent, latest, readout }: Drawing): UPlot.Options {
  const style = getComputedStyle(document.documentElement);
  const color = (token: string): string => resolveColor(style.getPropertyValue(token));
  const axis = {
    stroke: color('--muted'),
    font: '11px ui-sans-serif, system-ui, sans-serif',
    grid: { stroke: color('--line'), width: 1 },
    ticks: { show: false },
  };
  return {
    width,
    height,
    legend: { show: false },
    padding: [8, 4, 0, 0],
    cursor: { sync: { key: 'server' }, drag: { x: false, y: false }, y: false },
    scales: {
      x: { time: true, range: () => [Date.now() / 1000 - hourSeconds, Date.now() / 1000] },
      y: { range: isPercent ? [0, 100] : (_plot, _min, max) => [0, Math.max(max ?? 0, 1) * 1.1] },
    },
    series: [
      {},
      ...latest.current.lines.map((_line, n) => ({
        stroke: color(strokes[n]!.color),
        dash: [...strokes[n]!.dash],
        width: 1.75,
        points: { show: false },
      })),
    ],
    axes: [
      { ...axis, size: 24, values: (_plot, times) => times.map(time => formatMinute(new Date(time * 1000))) },
      {
        ...axis,
        size: isPercent ? 40 : 68,
        values: (_plot, values) =>
          values.map(value => (isPercent ? `${value} %` : latest.current.format(value))),
      },
    ],
    hooks: {
      setCursor: [
        plot => {
          const index = plot.cursor.idx;
          readout.textContent = typeof index === 'number' ? readAt(latest.current, index) : '';
        },
      ],
    },
  };
}

function readAt({ lines, format }: Drawing['latest']['current'], index: number): string {
  const at = lines[0]?.samples[index]?.at;
  if (at === undefined) return '';
  const values = lines.map(line => {
    const text = format(line.samples[index]?.value ?? null);
    return lines.length > 1 ? `${line.name} ${text}` : text;
  });
  return [formatClock(new Date(at)), ...values].join(' · ');
}

/** A canvas takes colours, but not light-dark(): the browser resolves it on an element. */
function resolveColor(value: string): string {
  const probe = document.createElement('span');
  probe.style.color = value;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}
