// Sequences the folds of an output-stationary array. What is issued in a cycle is latched by row 0 and column 0 of the array at
// the edge that ends it.
//
// `send` leaves one cycle after the last operands entered the fold's lowest row (their `last` and `bottom` bits say so), and
// meets every row at the same edge. Until then the results of the fold wait in their PEs, and overlapped
//   in place:     nothing waits: a fold follows another at once;
//   accumulators: the next fold's first word may be issued together with `send`, not before;
//   register:     its last word, which writes the registers, may be issued together with `send`, not before.
// Without overlap a fold begins after the edge that latched the last result of the one before.
module control_os #(parameter R = 2, C = 2, OUTPUTS = 0) (
    input  logic clk,
    input  logic rst,
    input  logic go,
    input  logic overlap,
    input  logic full,  // clock the whole array for every fold
    input  logic [15:0] folds,
    output logic [15:0] fold,
    input  logic [15:0] fold_words,  // what the descriptor says of it
    input  logic [15:0] fold_rows,
    input  logic [15:0] fold_columns,
    input  logic done,  // the last result of a fold is in its register
    input  logic [R-1:0] lowest_last,  // at the left edge of each row: the last operand of the fold's lowest row
    // To the edges of the array.
    output logic [15:0] word,
    output logic first,
    output logic last,
    output logic [R-1:0] row_used,
    output logic [R-1:0] row_bottom,
    output logic [C-1:0] column_used,
    output logic [C-1:0] column_right,
    output logic send
);
  logic [15:0] used_rows, used_columns;
  logic waiting, running, clear, issues;

  assign used_rows = full ? R : fold_rows;
  assign used_columns = full ? C : fold_columns;

  // waiting: the results of an earlier fold are in its way; running: one has not finished.
  assign clear = !waiting || send;
  assign first = word == 0;
  assign last = word == fold_words - 1;
  always_comb begin
    issues = go && fold < folds;
    if (first && !overlap && running && !done) issues = 1'b0;
    if (first && overlap && OUTPUTS == 1 && !clear) issues = 1'b0;
    if (last && overlap && OUTPUTS == 2 && !clear) issues = 1'b0;
  end

  for (genvar i = 0; i < R; i++) begin : row
    assign row_used[i] = issues && i < used_rows;
    assign row_bottom[i] = i == used_rows - 1;
  end
  for (genvar j = 0; j < C; j++) begin : column
    assign column_used[j] = issues && j < used_columns;
    assign column_right[j] = j == used_columns - 1;
  end

  always_ff @(posedge clk) begin
    if (rst) begin
      {fold, word} <= '0;
      {waiting, running, send} <= '0;
    end else begin
      send <= |lowest_last;
      waiting <= (issues && last) || !clear;
      running <= issues || (running && !done);
      if (issues) begin
        word <= last ? 0 : word + 1;
        fold <= fold + last;
      end
    end
  end
endmodule
