import { Component, type ReactNode } from 'react';
import { ErrorPanel } from './ErrorPanel.tsx';

type Props = { what: string; children: ReactNode };

/** Keeps the failure of one panel inside it. React has no other form for this than a class. */
export class PanelBoundary extends Component<Props, { error: unknown }> {
  override state = { error: null as unknown };

  static getDerivedStateFromError(error: unknown): { error: unknown } {
    return { error };
  }

  override render(): ReactNode {
    const { error } = this.state;
    if (error === null) return this.props.children;
    const retry = (): void => this.setState({ error: null });
    return <ErrorPanel what={`${this.props.what} cannot be shown.`} error={error} onRetry={retry} />;
  }
}
