//! A mistake: what is written, how it is applied, and what must come of it.

use crate::trouble::Trouble;

/// One row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Mistake {
    /// What was done, as an operator would own up to it.
    pub name: &'static str,
    /// What is written.
    pub edits: Vec<Edit>,
    /// How it is applied.
    pub apply: Apply,
    /// What must come of it.
    pub expect: Expect,
    /// How the server stands before.
    pub stand: Standing,
    /// What else happens while it is in force and not confirmed.
    pub trouble: Trouble,
}

/// How a server stands before a mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// What its configuration says besides.
    pub config: &'static str,
    /// Where SSH listens.
    pub port: u16,
    /// Whether the operator comes by IPv6.
    pub over_ipv6: bool,
}

/// A change of files.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    /// A resource file is written.
    Write(&'static str, String),
    /// A text in a resource file becomes another.
    Replace(&'static str, &'static str, &'static str),
    /// A resource file goes.
    Remove(&'static str),
    /// A text in the configuration becomes another.
    Configure(&'static str, &'static str),
    /// Lines are added to the configuration.
    Append(&'static str),
}

/// How a change comes into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Apply {
    /// `palisade reload`.
    Reload,
    /// SIGHUP.
    Hangup,
    /// What is written is staged and reloaded, and then promoted: these names.
    Promote(&'static str),
    /// `palisade safety-net remove`.
    SafetyNetRemove,
}

/// What must come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// The guard refuses it.
    Refused,
    /// It is not valid, and nothing of it comes into force.
    Invalid,
    /// It comes into force, and the session and a new one are let in all the same.
    Harmless,
}

/// A mistake in a file of the good state, applied by `palisade reload`.
pub(crate) fn mistake(name: &'static str, edits: impl Into<Vec<Edit>>, expect: Expect) -> Mistake {
    Mistake {
        name,
        edits: edits.into(),
        apply: Apply::Reload,
        expect,
        trouble: Trouble::Nothing,
        stand: Standing {
            config: "safetyNet: false\n",
            port: crate::stand::SSH,
            over_ipv6: false,
        },
    }
}

impl Mistake {
    /// The same, applied by SIGHUP.
    pub(crate) fn by_hangup(mut self) -> Self {
        self.apply = Apply::Hangup;
        self
    }

    /// The same, staged and then promoted: these names.
    pub(crate) fn promoted(mut self, names: &'static str) -> Self {
        self.apply = Apply::Promote(names);
        self
    }

    /// The same, come into force by taking the safety net away.
    pub(crate) fn by_safety_net(mut self) -> Self {
        self.apply = Apply::SafetyNetRemove;
        self
    }

    /// The same, with trouble while it is in force and not confirmed.
    pub(crate) fn with(mut self, trouble: Trouble) -> Self {
        self.trouble = trouble;
        self
    }

    /// The same, made by somebody who came by IPv6.
    pub(crate) fn over_ipv6(mut self) -> Self {
        self.stand.over_ipv6 = true;
        self
    }

    /// The same, where SSH listens at the port that a failsafe holds open.
    pub(crate) fn at_port_22(mut self) -> Self {
        self.stand.port = 22;
        self
    }

    /// The same, with this configuration instead of no safety net.
    pub(crate) fn configured(mut self, config: &'static str) -> Self {
        self.stand.config = config;
        self
    }
}

impl Apply {
    /// What is typed behind `palisade` to bring it into force all the same, for so many seconds.
    pub(crate) fn forced(self, window: u64) -> String {
        let command = match self {
            Apply::Reload | Apply::Hangup => "reload".to_owned(),
            Apply::Promote(names) => format!("promote {names}"),
            Apply::SafetyNetRemove => "safety-net remove".to_owned(),
        };
        format!("{command} --force --confirm-within {window}s --no-wait")
    }

    /// Whether what is written is brought into force at first, and only then becomes a mistake.
    pub(crate) fn is_prepared(self) -> bool {
        matches!(self, Apply::Promote(_) | Apply::SafetyNetRemove)
    }

    /// As the table says it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Apply::Reload => "`palisade reload`",
            Apply::Hangup => "SIGHUP",
            Apply::Promote(_) => "`palisade promote`",
            Apply::SafetyNetRemove => "`palisade safety-net remove`",
        }
    }
}
