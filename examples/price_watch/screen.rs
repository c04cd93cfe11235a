//! How the table looks on a terminal of any size. No prices are asked for here, and no terminal.

use ratatui::{
    Frame,
    layout::{Constraint, Layout},
    style::{Color, Style, Stylize as _},
    text::Line,
};

/// A symbol's row.
pub(crate) enum Row {
    /// A quote, whose state is a word, or nothing where it is fresh.
    Prices {
        symbol: String,
        bid: String,
        ask: String,
        last: String,
        spread: String,
        age: String,
        state: &'static str,
    },
    /// Why there is no quote.
    Nothing { symbol: String, why: String },
}

pub(crate) const HEADER: &str = "symbol         bid       ask      last spread     age";

impl Row {
    /// The row as a line of text, however long.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Prices {
                symbol,
                bid,
                ask,
                last,
                spread,
                age,
                state,
            } => {
                let row =
                    format!("{symbol:<8} {bid:>9} {ask:>9} {last:>9} {spread:>6} {age:>7} {state}");
                row.trim_end().to_owned()
            }
            Self::Nothing { symbol, why } => format!("{symbol:<8} {why}"),
        }
    }

    fn style(&self) -> Style {
        match self {
            Self::Prices { state: "", .. } => Style::new(),
            Self::Prices { .. } => Style::new().fg(Color::Yellow),
            Self::Nothing { .. } => Style::new().dim(),
        }
    }
}

/// Draws the rows from number `first` on, as many as there is room for, and below them how the line is. What is too wide is
/// cut, so that nothing wraps.
pub(crate) fn draw(frame: &mut Frame<'_>, rows: &[Row], first: usize, line: &str) {
    let [header, body, more, footer] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Line::from(HEADER).bold(), header);
    let shown = rows.iter().skip(first).take(body.height.into());
    let left_out = rows.len().saturating_sub(shown.len());
    for (row, place) in shown.zip(body.rows()) {
        frame.render_widget(Line::styled(row.text(), row.style()), place);
    }
    if left_out > 0 {
        let text = format!(
            "{left_out} of {} symbols are not shown: up, down",
            rows.len()
        );
        frame.render_widget(Line::from(text).dim(), more);
    }
    frame.render_widget(Line::from(format!("{line}; q ends")).reversed(), footer);
}
