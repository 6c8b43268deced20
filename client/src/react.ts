/** Signal in React: a provider with the tracker's options, and the hooks that record events. */
import { createContext, createElement, type ReactElement, type ReactNode, useContext, useEffect, useInsertionEffect, useRef, useState } from "react";

import type { EventType } from "./events.js";
import { type Fields, type Track, type TrackerOptions, trackerOf } from "./tracker.js";

const outside = ((eventType: string) => console.warn(`signal: ${eventType}: no SignalProvider above`)) as Track;
const Context = createContext<Track>(outside);

/** The options of `createTracker`, as props: the values of the last render count, so that hooks may feed them. */
export type SignalProviderProps = TrackerOptions & { readonly children?: ReactNode };

/** Gives everything below it `useTrackEvent`. One per app. */
export function SignalProvider({ children, ...options }: SignalProviderProps): ReactElement {
  const latest = useRef<TrackerOptions>(options);
  const [tracker] = useState(() => trackerOf(() => latest.current));
  // Before any effect of a child could track.
  useInsertionEffect(() => {
    latest.current = options;
  });
  return createElement(Context.Provider, { value: tracker.track }, children);
}

/** `track(eventType, { entity, description })`: the same function at each render. Call it where the user acts. */
export function useTrackEvent(): Track {
  return useContext(Context);
}

/**
 * Records one event each time `condition` becomes true, such as `open` of an overlay. An effect that calls `track` itself
 * would record twice under StrictMode, and again whenever its dependencies change.
 */
export function useTrackWhen<Type extends EventType>(condition: boolean, eventType: Type, ...fields: Fields<Type>): void {
  const track = useTrackEvent();
  const was = useRef(false);
  useEffect(() => {
    if (condition && !was.current) track(eventType, ...fields);
    was.current = condition;
  });
}
