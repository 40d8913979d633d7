/**
 * The page as a whole: its header, which view is shown, which dialog is open.
 *
 * What is open stands in the URL's hash (place.ts), which no server is told. Owns the list and the feed for as long as
 * the page lives.
 */
import { useCallback, useEffect, useReducer, useRef, useState } from 'preact/hooks';
import { ActivityView } from './activity.js';
import type { Directory } from './directory.js';
import { ExportDialog } from './export-dialog.js';
import { Header } from './header.js';
import { ImportDialog } from './import-dialog.js';
import { ListView } from './list-view.js';
import { type Hearers, OpenUser } from './open-user.js';
import { questionOf, readPlace, usePlace } from './place.js';
import { SignIn } from './sign-in.js';
import { createUserFeed, type FeedState } from './user-feed.js';
import { createUserList, isSame } from './user-list.js';

/** Later than this, a token has served for a while and has ended. */
const refusedWithinMs = 10_000;

export function App({ directory }: { directory: Directory }) {
  const [place, go] = usePlace();
  const [list] = useState(() => createUserList(directory, questionOf(place)));
  const [version, redraw] = useReducer<number, void>((before) => before + 1, 0);
  const [hearers] = useState<Hearers>(() => new Set());
  const [feedState, setFeedState] = useState<FeedState>('connecting');

  useEffect(() => list.onChange(() => redraw()), [list]);
  useEffect(() => {
    let hasFailed = false;
    const feed = createUserFeed({
      directory,
      onChanges(changes) {
        list.apply(changes);
        for (const hear of hearers) hear(changes);
      },
      onGap() {
        list.refresh();
        for (const hear of hearers) hear([]);
      },
      onState(state) {
        setFeedState(state);
        if (state === 'live' && hasFailed) list.resume();
        hasFailed = state === 'reconnecting' || state === 'offline' || (hasFailed && state !== 'live');
      },
    });
    return () => feed.close();
  }, [directory, list, hearers]);

  useEffect(() => {
    const question = questionOf(place);
    if (!isSame(question, list.asked)) list.ask(question);
  }, [place, list]);

  const { signIns, wasRefused } = useSignIns(directory, () => list.retry());
  const open = useCallback((id: string) => go({ user: id }), [go]);
  const close = useCallback(() => go({ user: '', dialog: '' }, { replace: true }), [go]);
  // An answer may come after somebody has gone on to another user, whose form stays.
  const closeUser = () => {
    if (readPlace(location.hash).user === place.user) close();
  };

  return (
    <div class="page">
      <Header
        place={place}
        go={go}
        feedState={feedState}
        total={list.answer === 0 ? undefined : list.total}
        rows={list.rows}
        isSearch={list.question.query !== '' || list.question.filter !== ''}
      />
      {place.view === 'list' && <ListView list={list} version={version} place={place} go={go} onOpen={open} />}
      {place.view === 'activity' && <ActivityView />}
      {place.user !== '' && (
        <OpenUser
          key={place.user}
          directory={directory}
          id={place.user}
          known={list.userAt(list.rowOf(place.user))}
          hearers={hearers}
          onClose={close}
          onSaved={(user) => {
            if (place.user === 'new') list.add(user);
            else list.put(user);
            closeUser();
          }}
          onDeleted={({ id }) => {
            list.drop(id);
            closeUser();
          }}
        />
      )}
      {place.dialog === 'import' && (
        <ImportDialog directory={directory} onClose={close} onImported={(newest) => list.refresh(newest)} />
      )}
      {place.dialog === 'export' && (
        <ExportDialog directory={directory} selection={questionOf(place)} onClose={close} />
      )}
      {/* Anew, and so on top, where the back button opens another dialog. */}
      {directory.needsSignIn && (
        <SignIn key={`${signIns} ${place.user} ${place.dialog}`} directory={directory} wasRefused={wasRefused} />
      )}
    </div>
  );
}

/** How often somebody was asked for a token so far, and whether the one that they gave was of no use. */
function useSignIns(directory: Directory, onSignedIn: () => void) {
  const [signIns, setSignIns] = useState(directory.needsSignIn ? 1 : 0);
  const [wasRefused, setRefused] = useState(false);
  const signedInAt = useRef(Number.NEGATIVE_INFINITY);
  const [, redraw] = useReducer<number, void>((before) => before + 1, 0);
  useEffect(
    () =>
      directory.onSignIn(() => {
        if (directory.needsSignIn) {
          setSignIns((before) => before + 1);
          setRefused(performance.now() - signedInAt.current < refusedWithinMs);
        } else {
          signedInAt.current = performance.now();
          onSignedIn();
        }
        redraw();
      }),
    [directory],
  );
  return { signIns, wasRefused };
}
