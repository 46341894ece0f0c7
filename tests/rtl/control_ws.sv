// Sequences the folds of a weight-stationary array: a loader and a streamer side by side. What is issued in a cycle is latched
// by row 0 and column 0 of the array at the edge that ends it.
//
// The loader may begin the next fold's weights
//   one register:  with the last word of the fold in the array (PE(0, 0) multiplies by the old weight and latches the new);
//   two registers: with the first word, which swaps (PE(0, 0) multiplies by `chain` and latches the new one there);
//   no overlap:    after the edge that latched the fold's last result.
// The streamer begins a fold in the cycle after its last row of weights was issued, and after the fold before it.
module control_ws #(parameter R = 2, C = 2, REGISTERS = 1) (
    input  logic clk,
    input  logic rst,
    input  logic go,
    input  logic overlap,
    input  logic full,  // clock the whole array for every fold
    input  logic [15:0] folds,
    // The loader's fold, and what the descriptor says of it.
    output logic [15:0] load_fold,
    input  logic [15:0] load_rows,
    // The streamer's.
    output logic [15:0] stream_fold,
    input  logic [15:0] stream_words,
    input  logic [15:0] stream_rows,
    input  logic [15:0] stream_columns,
    input  logic done,  // the last result of a fold is in its register
    // To the edges of the array.
    output logic [15:0] load_row,  // the row whose weights are issued: the lowest first
    output logic [R-1:0] load,  // row i takes part from the i-th edge on, when the first weight reaches it
    output logic [15:0] word,
    output logic first,
    output logic last,
    output logic [R-1:0] row_used,
    output logic [C-1:0] column_used,
    output logic [C-1:0] column_right  // the rightmost the fold uses
);
  logic [15:0] loaded, height, used_rows, used_columns;
  logic empty, ready, streaming, freed, loading, load_end, streams;

  assign height = full ? R : load_rows;
  assign used_rows = full ? R : stream_rows;
  assign used_columns = full ? C : stream_columns;

  assign streams = streaming || ready;
  assign first = streams && !streaming;
  assign last = streams && word == stream_words - 1;

  assign freed = !overlap ? done : REGISTERS == 2 ? first : last;
  assign loading = go && load_fold < folds && (loaded != 0 || empty || freed);
  assign load_end = loading && loaded == height - 1;
  assign load_row = height - 1 - loaded;

  for (genvar i = 0; i < R; i++) begin : row
    assign load[i] = loading && loaded >= i;
    assign row_used[i] = streams && i < used_rows;
  end
  for (genvar j = 0; j < C; j++) begin : column
    assign column_used[j] = streams && j < used_columns;
    assign column_right[j] = j == used_columns - 1;
  end

  always_ff @(posedge clk) begin
    if (rst) begin
      {load_fold, loaded, stream_fold, word} <= '0;
      empty <= 1'b1;
      {ready, streaming} <= '0;
    end else begin
      if (loading) begin
        loaded <= load_end ? 0 : loaded + 1;
        load_fold <= load_fold + load_end;
        empty <= 1'b0;
      end else if (freed) empty <= 1'b1;
      ready <= load_end || (ready && !first);
      if (streams) begin
        word <= last ? 0 : word + 1;
        stream_fold <= stream_fold + last;
        streaming <= !last;
      end
    end
  end
endmodule
