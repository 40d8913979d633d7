/** The icons of the page, as inline SVG. Screen readers ignore them, so each needs a text or a label beside it. */
import type { ComponentChildren } from 'preact';

function Icon({ children }: { children: ComponentChildren }) {
  return (
    <svg
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      stroke-width="1.5"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      {children}
    </svg>
  );
}

export const SearchIcon = () => (
  <Icon>
    <circle cx="7" cy="7" r="4.5" />
    <path d="m10.5 10.5 3 3" />
  </Icon>
);
export const FilterIcon = () => (
  <Icon>
    <path d="M2 4h12M4.5 8h7M7 12h2" />
  </Icon>
);
export const HomeIcon = () => (
  <Icon>
    <path d="M2.5 7.5 8 3l5.5 4.5M4 6.5v6.5h8V6.5" />
  </Icon>
);
export const RenameIcon = () => (
  <Icon>
    <path d="m3 13 .6-2.8 7-7 2.2 2.2-7 7L3 13Z" />
  </Icon>
);
export const BinIcon = () => (
  <Icon>
    <path d="M3 4.5h10M6.5 4V2.5h3V4M4.5 4.5l.6 8.5h5.8l.6-8.5" />
  </Icon>
);
export const PlusIcon = () => (
  <Icon>
    <path d="M8 3v10M3 8h10" />
  </Icon>
);
export const CloseIcon = () => (
  <Icon>
    <path d="m4 4 8 8M12 4l-8 8" />
  </Icon>
);
export const MenuIcon = () => (
  <Icon>
    <path d="M8 3.2v.1M8 8v.1M8 12.8v.1" stroke-width="2.4" />
  </Icon>
);
export const ImportIcon = () => (
  <Icon>
    <path d="M8 2.5v7.5M5 7l3 3 3-3M2.5 12.5v1h11v-1" />
  </Icon>
);
export const ExportIcon = () => (
  <Icon>
    <path d="M8 10V2.5M5 5.5l3-3 3 3M2.5 12.5v1h11v-1" />
  </Icon>
);
export const MetricsIcon = () => (
  <Icon>
    <path d="M1.5 8.5h3l2-5 3 9 2-4h3" />
  </Icon>
);
export const UsersIcon = () => (
  <Icon>
    <circle cx="6" cy="5.5" r="2.5" />
    <path d="M1.5 13c.4-2.3 2.2-3.5 4.5-3.5s4.1 1.2 4.5 3.5M10.5 3.2a2.5 2.5 0 0 1 0 4.6M12 9.8c1.4.5 2.3 1.6 2.5 3.2" />
  </Icon>
);
export const SunIcon = () => (
  <Icon>
    <circle cx="8" cy="8" r="2.8" />
    <path d="M8 1.5v1.3M8 13.2v1.3M1.5 8h1.3M13.2 8h1.3M3.4 3.4l.9.9M11.7 11.7l.9.9M12.6 3.4l-.9.9M4.3 11.7l-.9.9" />
  </Icon>
);
export const MoonIcon = () => (
  <Icon>
    <path d="M13 9.5A5.5 5.5 0 0 1 6.5 3a5.5 5.5 0 1 0 6.5 6.5Z" />
  </Icon>
);
export const ArrowUpIcon = () => (
  <Icon>
    <path d="M8 12.5v-9M4.5 7 8 3.5 11.5 7" />
  </Icon>
);
export const ArrowDownIcon = () => (
  <Icon>
    <path d="M8 3.5v9M4.5 9 8 12.5 11.5 9" />
  </Icon>
);
export const PersonIcon = () => (
  <Icon>
    <circle cx="8" cy="5.5" r="2.8" />
    <path d="M2.5 13.5c.5-2.6 2.7-4 5.5-4s5 1.4 5.5 4" />
  </Icon>
);
export const SignOutIcon = () => (
  <Icon>
    <path d="M6.5 2.5h-4v11h4M6.5 8h7M11 5.5 13.5 8 11 10.5" />
  </Icon>
);
export const ChevronIcon = () => (
  <Icon>
    <path d="m4.5 6.5 3.5 3.5 3.5-3.5" />
  </Icon>
);
export const ColumnsIcon = () => (
  <Icon>
    <path d="M2.5 3h11v10h-11zM6.2 3v10M9.8 3v10" />
  </Icon>
);
export const CopyIcon = () => (
  <Icon>
    <path d="M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3" />
  </Icon>
);
export const KeyboardIcon = () => (
  <Icon>
    <rect x="1.5" y="4" width="13" height="8.5" rx="1.5" />
    <path d="M4 6.7v.1M6.7 6.7v.1M9.3 6.7v.1M12 6.7v.1M4.5 9.9h7" />
  </Icon>
);
export const CommandIcon = () => (
  <Icon>
    <path d="m3 5 3 3-3 3M8 11.5h5" />
  </Icon>
);
export const OfflineIcon = () => (
  <Icon>
    <path d="M4.8 12.5a3 3 0 0 1-.4-6 3.7 3.7 0 0 1 1-1.9M7.6 3.5a3.7 3.7 0 0 1 4 3 3 3 0 0 1 1.8 4.7M2.5 2.5l11 11M4.8 12.5h6" />
  </Icon>
);
export const WarningIcon = () => (
  <Icon>
    <path d="M8 2.2 14.3 13.3H1.7ZM8 6.3v3.2M8 11.4v.1" />
  </Icon>
);
export const LockIcon = () => (
  <Icon>
    <rect x="3" y="7" width="10" height="6.5" rx="1.5" />
    <path d="M5.3 7V5.2a2.7 2.7 0 0 1 5.4 0V7" />
  </Icon>
);
