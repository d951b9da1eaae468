// Written by `make dashboards`, from files/batch_job/batch_job/states.py.
// A job's states; the place of each is its number, the worst last.
export const STATES = [
  {
    "name": "fine",
    "color": "#009E73",
    "meaning": "the latest run succeeded, in time"
  },
  {
    "name": "waiting",
    "color": "#56B4E9",
    "meaning": "no run has ended yet, and none is due"
  },
  {
    "name": "paused",
    "color": "#5C5C5C",
    "meaning": "it is switched off, or paused until a day, and not watched"
  },
  {
    "name": "warned",
    "color": "#BBDD77",
    "meaning": "it ended with a warning, is slow, or its failure is tolerated"
  },
  {
    "name": "undeclared",
    "color": "#E0E0E0",
    "meaning": "it reports, but nobody declared it, so it is not missed"
  },
  {
    "name": "wrong clock",
    "color": "#5A40E0",
    "meaning": "it reports times in the future and would never be late"
  },
  {
    "name": "shrunk",
    "color": "#0072B2",
    "meaning": "its backup holds too little"
  },
  {
    "name": "unreported",
    "color": "#F0E442",
    "meaning": "no gateway has its latest report"
  },
  {
    "name": "late",
    "color": "#E69F00",
    "meaning": "no success came in time"
  },
  {
    "name": "stuck",
    "color": "#CC79A7",
    "meaning": "a run is over its allowed time"
  },
  {
    "name": "failing",
    "color": "#D55E00",
    "meaning": "the latest run failed"
  }
];

// The results of a run, and their colours.
export const RESULTS = {
  "success": "#009E73",
  "warning": "#BBDD77",
  "exit-code": "#D55E00",
  "signal": "#CC79A7",
  "timeout": "#E69F00",
  "oom-kill": "#0072B2",
  "start-failed": "#5A40E0"
};

// Selects the alerts on monitoring itself.
export const WATCHERS = "alertname=~\"Pushgateway.+|Prometheus.+|Alertmanager.+|BatchJobDeclarationsMissing|CertificateExpires\"";
