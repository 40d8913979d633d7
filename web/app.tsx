/**
 * The page as a whole: its header, which view is shown, which dialog is open.
 *
 * What is open stands in the URL's hash (place.ts), which no server is told; nothing here talks to the network itself.
 */
import type { Directory } from './directory.js';
import { usePlace } from './place.js';

export function App({ directory }: { directory: Directory }) {
  const [place] = usePlace();
  // <UserDialog>, <ImportDialog> and <ActivityView> have their places here: as `place.user`, `place.dialog` and
  // `place.view` say.
  return (
    <div class="page" data-view={place.view}>
      <main>{directory.needsSignIn ? 'Sign in' : 'Roster'}</main>
    </div>
  );
}
